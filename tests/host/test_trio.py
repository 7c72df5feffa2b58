"""Papyra on trio: with coredis it works, with the others it says what to take."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest
import trio
from papyra import Actor, ActorSystem
from papyra.exceptions import ActorStopped
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistedEvent, PersistenceRecoveryConfig, PersistenceRecoveryMode
from redis import Redis

from papyra_streams import (
    Progress,
    RedisConsumerGroupConfig,
    RedisStreamsConfig,
    RedisStreamsPersistence,
    UnsupportedOperation,
)
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

EVENT = PersistedEvent("local", "local:1", "ActorStarted", {}, 1.0)


class Clerk(Actor):
    """Fails when it is told to, and answers everything else."""

    async def receive(self, message: Any) -> Any:
        if message == "fail":
            raise RuntimeError("as told")
        return message


def test_an_actor_system_records_its_life_under_trio(url: str, prefix: str) -> None:
    trio.run(_live, RedisStreamsConfig(url=url, prefix=prefix, driver="coredis"))


async def _live(config: RedisStreamsConfig) -> None:
    backend = RedisStreamsPersistence(config)
    async with ActorSystem(persistence=backend) as system:
        clerk = system.spawn(Clerk, name="clerk")
        assert await clerk.ask("hello", timeout=5.0) == "hello"
        with pytest.raises(RuntimeError):
            await clerk.ask("fail", timeout=5.0)
        await system.stop(clerk)
        with pytest.raises(ActorStopped):
            await clerk.tell("too late")
        system.audit()
        happened = [type(event).__name__ for event in system.events()]
    reader = RedisStreamsPersistence(config)
    recorded = sorted(event.event_type for event in await reader.list_events())
    assert recorded == sorted(happened)
    assert "ActorCrashed" in recorded
    assert len(await reader.list_dead_letters()) == 1
    assert len(await reader.list_audits()) == 1
    await reader.aclose()


def test_streams_are_scanned_recovered_and_compacted_under_trio(url: str, prefix: str) -> None:
    trio.run(_maintain, RedisStreamsConfig(url=url, prefix=prefix, driver="coredis", approx_trim=False))


async def _maintain(config: RedisStreamsConfig) -> None:
    backend = RedisStreamsPersistence(config, retention_policy=RetentionPolicy(max_records=250))
    bad = {"kind": "event", "timestamp": "never"}
    await backend.record_many([{"kind": "event", "timestamp": 1.0, "payload": {"number": n}} for n in range(300)])
    with Redis.from_url(config.url) as client:
        client.xadd(config.keyspace().stream(Partition(EVENTS)), {"data": json.dumps(bad)})
    pages: list[Progress] = []

    async def note(progress: Progress) -> None:
        pages.append(progress)

    assert (await backend.scan(full=True, progress=note)).found == 1
    assert len(pages) == 2
    report = await backend.recover(PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.QUARANTINE), full=True)
    assert report.compaction
    assert report.compaction.removed_records == 50
    rebuilt = await backend.recover(PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.REBUILD))
    assert [(each.records, each.obstacle) for each in rebuilt.rebuilt] == [(250, "")]
    assert await backend.quarantine_export(kind="events", to=io.BytesIO()) == 1
    with pytest.raises(OSError, match="full"):
        await backend.quarantine_export(kind="events", to=_FullDisk())
    assert not (await backend.scan(full=True)).has_anomalies
    await backend.aclose()


class _FullDisk(io.BytesIO):
    def write(self, _: object) -> int:
        raise OSError("full")


def test_consumer_groups_work_under_trio(url: str, prefix: str) -> None:
    trio.run(_consume, RedisStreamsConfig(url=url, prefix=prefix, driver="coredis"))


async def _consume(config: RedisStreamsConfig) -> None:
    backend = RedisStreamsPersistence(config)
    patient = RedisConsumerGroupConfig("workers", "worker-1", block_ms=5000)
    await backend.ensure_consumer_group(kind="events", group="workers")
    with trio.move_on_after(0.05):
        await backend.consume(kind="events", cfg=patient)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.record_event, EVENT)
        (entry,) = await backend.consume(kind="events", cfg=patient)
    assert await backend.ack(kind="events", group="workers", ids=[entry.id]) == 1
    assert not (await backend.scan()).has_anomalies
    assert (await backend.compact()).after_records == 1
    await backend.aclose()


@pytest.mark.parametrize("driver", ["redis", "valkey"])
def test_a_driver_that_knows_asyncio_only_refuses_trio_at_the_first_call(url: str, driver: str) -> None:
    backend = RedisStreamsPersistence(RedisStreamsConfig(url=url, driver=driver))
    for call in (backend.list_events, lambda: backend.record_event(EVENT)):
        with pytest.raises(UnsupportedOperation, match="coredis"):
            trio.run(call)


ONE_OBJECT_TWO_LOOPS = """
import asyncio, sys, trio
from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
url, prefix, driver = sys.argv[1:]
backend = RedisStreamsPersistence(RedisStreamsConfig(url=url, prefix=prefix, driver=driver))
async def record():
    await backend.record_event({"event_type": "ActorStarted", "timestamp": 1.0})
    return len(await backend.list_events())
print(asyncio.run(record()), asyncio.run(record()), trio.run(record) if driver == "coredis" else asyncio.run(record()))
"""


def test_a_process_ends_quietly_though_nobody_closed_the_backend(url: str, prefix: str, driver: str) -> None:
    command = [sys.executable, "-W", "error", "-c", ONE_OBJECT_TWO_LOOPS, url, prefix, driver]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 2 3\n", "")
