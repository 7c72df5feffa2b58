"""What cannot be done is said in one line, with status 2."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from papyra_streams import drivers
from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.sources import EmbeddedSource
from papyra_streams_contract.wire import ask_once

from .conftest import Outcome, run

PASSWORD = "sesame"
COMMANDS = {
    "scan": ["scan"],
    "full scan": ["scan", "--full"],
    "recover": ["recover", "--mode", "quarantine"],
    "compact": ["compact"],
    "list": ["quarantine", "list", "events"],
    "show": ["quarantine", "show", "events", "1-1"],
    "replay": ["quarantine", "replay", "events", "1-1"],
    "drop": ["quarantine", "drop", "events", "1-1", "--yes"],
    "export": ["quarantine", "export", "events"],
}
AWAY = "redis://127.0.0.1:1/0"

every_command = pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Start a server that asks for a password."""
    source = EmbeddedSource(drivers.embedded_servers())
    server = source.private()
    assert ask_once(server.endpoint, "ACL SETUSER cook on >open ~* +@all") == b"+OK"
    yield server
    server.stop()
    source.stop()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAPYRA_SETTINGS_MODULE", raising=False)


def assert_refused(outcome: Outcome, reason: str) -> None:
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert reason in outcome.err
    assert PASSWORD not in outcome.err


@pytest.mark.parametrize("name", ["scan", "full scan", "compact", "list"])
def test_a_server_that_is_away(name: str) -> None:
    assert_refused(run(*COMMANDS[name], "--url", AWAY), "redis://127.0.0.1:1/0 cannot be reached")


@pytest.mark.parametrize("driver", ["redis", "valkey", "coredis"])
@pytest.mark.parametrize("words", [COMMANDS["scan"], COMMANDS["compact"], COMMANDS["list"]], ids=" ".join)
def test_a_wrong_password(words: list[str], driver: str, server: ServerProcess) -> None:
    url = f"redis://cook:{PASSWORD}@{server.endpoint.host}:{server.endpoint.port}/0"
    assert_refused(run(*words, "--url", url, "--driver", driver), "WRONGPASS")


@every_command
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--url", AWAY, "--driver", "nonsense"], "There is no driver 'nonsense'"),
        (["--url", f"http://:{PASSWORD}@localhost/"], "`url` begins with 'http://'"),
        (["--url", f"redis://:{PASSWORD}/0@localhost"], "percent-encode"),
        (["--url", AWAY, "--system-id", "a:b"], "`system_id` 'a:b' must not contain ':'"),
        (["--url", AWAY, "--prefix", ""], "`prefix` '' has an empty part"),
        (["--driver", "valkey"], "--driver is for a backend that is given with --url."),
        (["--system-id", "orders"], "--system-id is for a backend that is given with --url."),
        (
            [],
            "PAPYRA_SETTINGS_MODULE is not set, so that no backend is named. Set PAPYRA_SETTINGS_MODULE, and PYTHON",
        ),
    ],
)
def test_what_cannot_be_used(words: list[str], options: list[str], reason: str) -> None:
    assert_refused(run(*words, *options), reason)


@pytest.mark.parametrize("option", ["--max-records", "--max-age-seconds", "--max-total-bytes"])
@pytest.mark.parametrize("words", [COMMANDS["scan"], COMMANDS["recover"], COMMANDS["compact"]], ids=" ".join)
def test_retention_that_would_keep_nothing(words: list[str], option: str) -> None:
    name = option.removeprefix("--").replace("-", "_")
    assert_refused(run(*words, "--url", AWAY, option, "0"), f"The retention policy's `{name}` must be")
    assert_refused(run(*words, option, "1"), f"{option} is for a backend that is given with --url.")


@pytest.mark.parametrize(
    "words",
    [
        ["scna"],
        ["scan", "--ful"],
        ["scan", "--limit", "0"],
        ["scan", "--max-records", "many"],
        ["compact", "--full"],
        ["quarantine", "lits", "events"],
        ["quarantine", "list"],
        ["quarantine", "list", "events", "--max-records", "1"],
        ["quarantine", "drop", "events"],
    ],
    ids=" ".join,
)
def test_what_is_mistyped(words: list[str]) -> None:
    refused = run(*words, "--url", AWAY)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("Usage: ")
    assert "\nError: " in refused.err


def test_a_file_outlives_an_export_that_fails(tmp_path: Path) -> None:
    (tmp_path / "given-up.jsonl").write_text("of yesterday")
    refused = run("quarantine", "export", "events", "--to", str(tmp_path / "given-up.jsonl"), "--url", AWAY)
    assert_refused(refused, "cannot be reached")
    assert (tmp_path / "given-up.jsonl").read_text() == "of yesterday"
