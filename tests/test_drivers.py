"""Finding a driver by its entry point, and saying what to do where there is none."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from importlib.metadata import EntryPoints
from pathlib import Path
from textwrap import dedent

import pytest

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence, drivers
from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import ConfigurationError, DriverNotInstalled, UnknownDriver
from papyra_streams.ports import EmbeddedServers, StreamStore, Timeouts

OURS = ["redis", "valkey", "coredis"]

Distribute = Callable[..., None]

HIDE_AND_BUILD = dedent("""\
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == sys.argv[1]:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
    import papyra_streams as streams

    try:
        streams.RedisStreamsPersistence(streams.RedisStreamsConfig(driver=sys.argv[1]))
    except streams.DriverNotInstalled as error:
        print(error)
""")


@pytest.fixture
def distribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribute:
    """Return a function that installs a distribution with one entry point, for the length of the test."""

    def install(distribution: str, name: str, source: str, *, group: str = "drivers") -> None:
        place = tmp_path / distribution
        metadata = place / f"{distribution}-1.0.dist-info"
        metadata.mkdir(parents=True)
        module = f"{distribution}_{uuid.uuid4().hex}"
        (place / f"{module}.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[papyra_streams.{group}]\n{name} = {module}:driver\n")
        monkeypatch.syspath_prepend(place)

    return install


# -- found


@pytest.mark.parametrize("name", OURS)
def test_each_driver_of_ours_builds_a_store_without_connecting(name: str) -> None:
    store = drivers.load(name)(Endpoint(host="nowhere.invalid"), Timeouts())

    assert isinstance(store, StreamStore)
    assert "asyncio" in store.event_loops


def test_another_distribution_adds_a_driver(distribute: Distribute) -> None:
    distribute("fleet", "ship", "driver = list")

    assert "ship" in drivers.names()
    assert drivers.load("ship") is list  # type: ignore[comparison-overlap]  # it stands for a driver


def test_the_names_are_in_order() -> None:
    assert drivers.names() == sorted(set(drivers.names()))
    assert set(OURS) <= set(drivers.names())


def test_the_embedded_server_is_found() -> None:
    assert isinstance(drivers.embedded_servers(), EmbeddedServers)


# -- not found


def test_an_unknown_driver_is_answered_with_those_there_are_and_how_to_get_them() -> None:
    with pytest.raises(UnknownDriver) as caught:
        drivers.load("redys")

    message = str(caught.value)
    assert message.startswith("There is no driver 'redys'; there are ")
    assert all(repr(name) in message for name in OURS)
    assert "pip install 'papyra-streams[all]'" in message


def test_a_backend_refuses_an_unknown_driver_when_it_is_built() -> None:
    with pytest.raises(UnknownDriver):
        RedisStreamsPersistence(RedisStreamsConfig(driver="redys"))


@pytest.mark.parametrize("name", OURS)
def test_a_driver_without_its_client_library_says_how_to_install_it(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", HIDE_AND_BUILD, name], capture_output=True, text=True, check=True, timeout=50
    )

    assert f"or too old: pip install --upgrade 'papyra-streams[{name}]'" in run.stdout
    _, _, installed = run.stdout.partition("Installed are ")
    assert [repr(other) in installed for other in OURS] == [other != name for other in OURS]


def test_the_advice_names_the_distribution_that_brings_the_driver(distribute: Distribute) -> None:
    distribute("fleet", "absentclient", "import absentclient.asyncio")

    with pytest.raises(DriverNotInstalled, match=r"pip install --upgrade 'fleet\[absentclient\]'") as caught:
        drivers.load("absentclient")

    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("source", ["from {}.asyncio import Novelty", "import {}.novelties"])
def test_a_client_library_that_is_too_old_is_as_good_as_missing(
    distribute: Distribute, tmp_path: Path, source: str
) -> None:
    client = f"oldclient_{uuid.uuid4().hex}"
    distribute("fleet", client, source.format(client))
    package = tmp_path / "fleet" / client
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "asyncio.py").touch()

    with pytest.raises(DriverNotInstalled, match=rf"or too old: pip install --upgrade 'fleet\[{client}\]'"):
        drivers.load(client)


def test_without_an_embedded_server_the_installation_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "entry_points", lambda **_: EntryPoints())

    with pytest.raises(ConfigurationError, match="pip install --force-reinstall papyra-streams"):
        drivers.embedded_servers()


def test_two_distributions_cannot_offer_the_embedded_server(distribute: Distribute) -> None:
    distribute("fleet", "embedded", "driver = list", group="servers")

    with pytest.raises(ConfigurationError, match="embedded server is offered more than once, by fleet, papyra-streams"):
        drivers.embedded_servers()


def test_a_driver_that_cannot_be_imported_is_not_advised(distribute: Distribute) -> None:
    distribute("fleet", "absentclient", "import absentclient")
    distribute("wreck", "wrecked", "raise RuntimeError('a fault of its own')")

    with pytest.raises(DriverNotInstalled) as caught:
        drivers.load("absentclient")

    assert "wrecked" not in str(caught.value)


# -- faults of a driver are not hidden


def test_another_module_that_is_missing_is_no_missing_client(distribute: Distribute) -> None:
    distribute("fleet", "ship", "import absent_module")

    with pytest.raises(ModuleNotFoundError, match="absent_module"):
        drivers.load("ship")


def test_a_name_that_cannot_be_imported_is_no_missing_client(distribute: Distribute) -> None:
    distribute("fleet", "ship", "from papyra_streams import nothing_of_the_kind")

    with pytest.raises(ImportError, match="nothing_of_the_kind"):
        drivers.load("ship")


def test_two_distributions_cannot_offer_one_driver(distribute: Distribute) -> None:
    distribute("fleet", "ship", "driver = list")
    distribute("harbour", "ship", "driver = list")

    with pytest.raises(ConfigurationError, match="offered more than once, by fleet, harbour; uninstall all but one"):
        drivers.load("ship")
