"""Papyra's own command line, with this backend named in the settings, as an operator runs it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from papyra.persistence.models import PersistedEvent
from redis import Redis

from papyra_streams import RedisConsumerGroupConfig, RedisStreamsConfig, RedisStreamsPersistence
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

SETTINGS = """
from papyra import Settings
from papyra.persistence.backends.retention import RetentionPolicy
from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence

class Production(Settings):
    persistence = RedisStreamsPersistence(
        RedisStreamsConfig(url={url!r}, prefix={prefix!r}, system_id="orders", driver={driver!r}, approx_trim=False),
        retention_policy=RetentionPolicy(max_records=3),
    )
"""


class Papyra:
    """The ``papyra`` command with settings of its own."""

    def __init__(self, directory: Path, url: str, prefix: str, driver: str) -> None:
        (directory / "settings.py").write_text(SETTINGS.format(url=url, prefix=prefix, driver=driver))
        self._directory = directory
        self.config = RedisStreamsConfig(url=url, prefix=prefix, system_id="orders", driver=driver)

    def __call__(self, *words: str) -> tuple[int, str]:
        """Run a command; return its exit status and what it printed. Anything on standard error is a failure."""
        done = self.run(*words)
        assert done.stderr == ""
        return done.returncode, done.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        environment = os.environ | {
            "PAPYRA_SETTINGS_MODULE": "settings.Production",
            "PYTHONPATH": f"{self._directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "PYTHONWARNINGS": "default",
            "COLUMNS": "200",
        }
        command = [str(Path(sys.executable).with_name("papyra")), *words]
        return subprocess.run(
            command, cwd=self._directory, env=environment, capture_output=True, text=True, check=False, timeout=60
        )


def assert_warns(done: subprocess.CompletedProcess[str], beginning: str) -> None:
    """Check that one line came on standard error, and how it begins."""
    assert done.stderr.startswith(beginning)
    assert done.stderr.count("\n") == 1


@pytest.fixture
def papyra(tmp_path: Path, url: str, prefix: str, driver: str) -> Papyra:
    """Return the command, over three readable events and a bad entry between them."""
    command = Papyra(tmp_path, url, prefix, driver)
    asyncio.run(_fill(command.config))
    return command


async def _fill(config: RedisStreamsConfig) -> None:
    backend = RedisStreamsPersistence(config)
    for number in range(3):
        await backend.record_event(PersistedEvent("orders", f"orders:{number}", "ActorStarted", {}, 1.0 + number))
    await backend.aclose()
    with Redis.from_url(config.url) as client:
        client.xadd(config.keyspace().stream(Partition(EVENTS)), {"data": "{broken"})


def test_inspect_lists_the_events(papyra: Papyra) -> None:
    status, printed = papyra("inspect", "events", "--limit", "2")
    assert status == 0
    assert "[2.000] ActorStarted orders:1" in printed
    assert "[3.000] ActorStarted orders:2" in printed
    assert "orders:0" not in printed


def test_persistence_inspect_names_the_backend_and_counts(papyra: Papyra) -> None:
    status, printed = papyra("persistence", "inspect", "--show-metrics")
    assert status == 0
    assert "backend: RedisStreamsPersistence" in printed
    assert "max_records=3" in printed
    assert "events_sampled: 3" in printed
    assert "write_errors: 0" in printed


def test_scan_recover_and_scan_again(papyra: Papyra, tmp_path: Path) -> None:
    status, printed = papyra("persistence", "scan")
    assert status == 2
    assert "Found 1 persistence anomalies" in printed
    assert "CORRUPTED_LINE" in printed
    assert "not JSON" in printed
    status, printed = papyra(
        "persistence", "recover", "--mode", "quarantine", "--quarantine-dir", str(tmp_path / "unused")
    )
    assert status == 0
    assert "quarantined" in printed
    scanned = papyra.run("persistence", "scan")
    assert scanned.returncode == 0
    assert "Persistence is healthy" in scanned.stdout
    # It is no anomaly, but somebody should look at it.
    assert_warns(scanned, "A scan saw: The quarantine ")


def test_compact_applies_the_retention_policy(papyra: Papyra) -> None:
    asyncio.run(_record_two_more(papyra.config))
    assert papyra("persistence", "compact")[0] == 0
    assert asyncio.run(_length(papyra.config)) == 4


async def _record_two_more(config: RedisStreamsConfig) -> None:
    backend = RedisStreamsPersistence(config)
    for number in range(2):
        await backend.record_event(PersistedEvent("orders", "orders:9", "ActorStopped", {}, 9.0 + number))
    await backend.aclose()


async def _length(config: RedisStreamsConfig) -> int:
    """Count the entries, the bad one among the newest four included."""
    backend = RedisStreamsPersistence(config)
    report = await backend.compact()
    await backend.aclose()
    return report.before_records


def test_the_doctor_complains_and_cures(papyra: Papyra) -> None:
    status, printed = papyra("doctor", "run")
    assert status == 1
    assert "not JSON" in printed
    status, printed = papyra("doctor", "run", "--mode", "recover")
    assert status == 0
    assert "Recovery successful" in printed
    status, printed = papyra("doctor", "run")
    assert status == 0
    assert "Persistence is healthy" in printed


def test_metrics_are_shown(papyra: Papyra) -> None:
    status, printed = papyra("metrics", "persistence", "--json")
    assert status == 0
    assert '"unreadable_entries": 0' in printed


def test_a_group_that_holds_compaction_back_is_named_to_the_operator(papyra: Papyra) -> None:
    asyncio.run(_leave_pending(papyra.config))
    done = papyra.run("persistence", "compact")
    assert done.returncode == 0
    assert_warns(done, "The group 'workers' keeps entries of ")
    assert asyncio.run(_length(papyra.config)) == 6


async def _leave_pending(config: RedisStreamsConfig) -> None:
    backend = RedisStreamsPersistence(config)
    await backend.consume(kind="events", cfg=RedisConsumerGroupConfig("workers", "worker-1", block_ms=0))
    await backend.aclose()
    await _record_two_more(config)


def test_the_doctor_may_ignore_a_bad_entry(papyra: Papyra) -> None:
    status, printed = papyra("doctor", "run", "--mode", "ignore")
    assert status == 0
    assert "Persistence anomalies detected (ignored)" in printed
    assert "not JSON" in printed
    assert papyra("persistence", "scan")[0] == 2


def test_the_doctor_may_quarantine_a_bad_entry(papyra: Papyra, tmp_path: Path) -> None:
    words = ("doctor", "run", "--mode", "recover", "--recovery-mode", "quarantine")
    refused = papyra.run(*words)
    assert (refused.returncode, refused.stderr) == (1, "quarantine recovery requires --quarantine-dir\n")
    cured = papyra.run(*words, "--quarantine-dir", str(tmp_path / "unused"))
    assert cured.returncode == 0
    assert "Recovery successful" in cured.stdout
    # The scan that the doctor makes afterwards.
    assert_warns(cured, "A scan saw: The quarantine ")
    assert not (tmp_path / "unused").exists()


def test_the_doctor_deletes_in_a_mode_that_promises_to_scan_only(papyra: Papyra) -> None:
    # So does Papyra with each backend of its own; doctor.md warns of it.
    status, printed = papyra("doctor", "run", "--mode", "scan_only")
    assert (status, "Recovery successful" in printed) == (0, True)
    assert papyra("persistence", "scan")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ("persistence", "recover", "--mode", "rebuild"),
        ("doctor", "run", "--mode", "recover", "--recovery-mode", "rebuild"),
    ],
    ids=" ".join,
)
def test_streams_are_written_anew(words: tuple[str, ...], papyra: Papyra) -> None:
    status, printed = papyra(*words)
    assert status == 0
    stream = papyra.config.keyspace().stream(Partition(EVENTS))
    assert f"repaired {stream}" in printed or "Recovery successful" in printed
    assert papyra("persistence", "scan")[0] == 0
    assert "orders:2" in papyra("inspect", "events")[1]


@pytest.fixture
def dangling(papyra: Papyra) -> str:
    """Have a good entry that is pending for a group and deleted, and no bad one; return its id."""
    assert papyra("persistence", "recover", "--mode", "repair")[0] == 0
    return asyncio.run(_leave_dangling(papyra.config))


async def _leave_dangling(config: RedisStreamsConfig) -> str:
    backend = RedisStreamsPersistence(config)
    first, *_ = await backend.consume(kind="events", cfg=RedisConsumerGroupConfig("workers", "worker-1", block_ms=0))
    await backend.aclose()
    with Redis.from_url(config.url) as client:
        client.xdel(config.keyspace().stream(Partition(EVENTS)), first.id)
    return first.id


def test_a_scan_names_a_reference_to_what_is_gone(papyra: Papyra, dangling: str) -> None:
    status, printed = papyra("persistence", "scan")
    assert status == 2
    assert "Found 1 persistence anomalies" in printed
    assert "ORPHANED_ROTATED_FILE" in printed
    assert f"entry {dangling}: pending for the group 'workers', but no longer in the stream" in " ".join(
        printed.split()
    )


@pytest.mark.parametrize(
    ("words", "status", "says", "left"),
    [
        (("doctor", "run"), 1, "Persistence anomalies detected: ", 2),
        (("doctor", "run", "--mode", "ignore"), 0, "Persistence anomalies detected (ignored): ", 2),
        (("doctor", "run", "--mode", "recover"), 0, "Recovery successful", 0),
        (("persistence", "recover", "--mode", "repair"), 0, "Recovery completed", 0),
        (("persistence", "recover", "--mode", "rebuild"), 0, "Recovery completed", 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
@pytest.mark.usefixtures("dangling")
@pytest.mark.parametrize("driver", ["redis"], indirect=True)
def test_what_becomes_of_a_reference_to_what_is_gone(
    words: tuple[str, ...], status: int, says: str, left: int, papyra: Papyra
) -> None:
    done, printed = papyra(*words)
    assert (done, says in printed) == (status, True)
    assert papyra("persistence", "scan")[0] == left


@pytest.fixture
def away(tmp_path: Path, prefix: str, driver: str) -> Papyra:
    """Return the command with a server that is away."""
    return Papyra(tmp_path, "redis://127.0.0.1:1/0", prefix, driver)


UNKNOWN = "the scan could not be made: redis://127.0.0.1:1/0 cannot be reached: "


@pytest.mark.parametrize("driver", ["redis"], indirect=True)
@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("persistence", "scan"), 2, "Found 1 persistence anomalies"),
        (("doctor", "run"), 1, "Persistence anomalies detected: "),
        (("doctor", "run", "--mode", "ignore"), 0, "Persistence anomalies detected (ignored): "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_scan_without_a_server_reports_that(words: tuple[str, ...], status: int, says: str, away: Papyra) -> None:
    done, printed = away(*words)
    assert (done, says in printed) == (status, True)
    assert UNKNOWN in " ".join(printed.split())


@pytest.mark.parametrize("driver", ["redis"], indirect=True)
@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "run", "--mode", "recover"),
        ("persistence", "recover", "--mode", "repair"),
        ("persistence", "compact"),
    ],
    ids=" ".join,
)
def test_what_needs_the_server_fails_without_it(words: tuple[str, ...], away: Papyra) -> None:
    done = away.run(*words)
    assert done.returncode == 1
    # Papyra's commands show each error with its traceback.
    assert "papyra_streams.errors.Unavailable: redis://127.0.0.1:1/0 cannot be reached" in done.stderr
