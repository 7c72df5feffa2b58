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
        client.xadd(config.keyspace().stream(EVENTS), {"data": "{broken"})


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
    status, printed = papyra("persistence", "scan")
    assert status == 0
    assert "Persistence is healthy" in printed


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
    assert done.stderr.startswith("The group 'workers' keeps entries of ")
    assert done.stderr.count("\n") == 1
    assert asyncio.run(_length(papyra.config)) == 6


async def _leave_pending(config: RedisStreamsConfig) -> None:
    backend = RedisStreamsPersistence(config)
    await backend.consume(kind="events", cfg=RedisConsumerGroupConfig("workers", "worker-1", block_ms=0))
    await backend.aclose()
    await _record_two_more(config)
