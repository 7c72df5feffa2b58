"""Taking out of the way what a scan finds, and writing streams anew, while others are at work."""

import asyncio
import json
import logging
from collections.abc import Sequence

import pytest

from papyra_streams import AnomalyCount, PermissionDenied, RedisStreamsPersistence
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

from .arranging import fields_of, stored
from .backends import QUARANTINE, REBUILD, REPAIR, WORKERS, OpenBackend, damage, event, numbers, record_events
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

GONE = "pending, but no longer in the stream"


async def test_a_full_recovery_goes_through_everything(open_backend: OpenBackend, wire: Wire, stream: str) -> None:
    backend = open_backend(scan_sample_size=1)
    await damage(wire, stream, [b"{", b"\xff"])
    await record_events(backend, 3)
    report = await backend.recover(REPAIR, full=True)

    assert report.recovered == (
        AnomalyCount(stream=stream, reason="not JSON", count=1),
        AnomalyCount(stream=stream, reason="not UTF-8", count=1),
    )
    assert (report.scan.found, report.repaired_files) == (2, (stream,))
    assert report.compaction
    assert report.compaction.removed_records == 0
    assert await numbers(backend) == [0, 1, 2]


async def test_references_to_what_is_gone_are_mended(backend: RedisStreamsPersistence, wire: Wire, stream: str) -> None:
    await record_events(backend, 3)
    given = await backend.consume(kind="events", cfg=WORKERS)
    await wire("XDEL", stream, given[0].id, given[2].id)
    report = await backend.recover(QUARANTINE)

    assert report.recovered == (AnomalyCount(stream=stream, reason=GONE, group="workers", count=2),)
    assert (report.repaired_files, report.quarantined_files) == ((stream,), ())
    assert (await backend.pending_summary(kind="events", group="workers")).min_id == given[1].id
    assert not (await backend.scan()).has_anomalies


async def test_two_recoveries_at_once_among_writers_and_a_consumer_mend_each_entry_once(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend()
    for number in range(150):
        await backend.record_event(event(number))
        await damage(wire, stream, [b"{%d" % number, b"\xff%d" % number])

    async def write() -> None:
        for number in range(150, 300):
            await backend.record_event(event(number))

    async def work() -> list[int]:
        handled: list[int] = []
        while len(handled) < 300:
            given = await backend.consume(kind="events", cfg=WORKERS)
            handled += [entry.data["payload"]["number"] for entry in given]
            await backend.ack(kind="events", group="workers", ids=[entry.id for entry in given])
        return handled

    first, second, _, handled = await asyncio.gather(
        backend.recover(QUARANTINE, full=True), open_backend().recover(QUARANTINE, full=True), write(), work()
    )
    mended = sum(each.count for report in (first, second) for each in report.recovered if not each.group)
    quarantine = backend.config.keyspace().quarantine(Partition(EVENTS))
    assert (mended, await wire("XLEN", quarantine)) == (300, 300)
    assert await numbers(backend) == [*range(300)]
    assert sorted(handled) == [*range(300)]


async def test_a_rebuild_among_writers_and_workers_loses_nothing_and_frees_memory(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await backend.record_many([{"kind": "event", "timestamp": 1.0, "payload": {"number": n}} for n in range(6000)])
    ids = await stored(wire, stream)
    for first in range(0, 6000, 1000):
        await wire("XDEL", stream, *[str(each) for n, each in enumerate(ids[first : first + 1000]) if n % 12])
    await damage(wire, stream, [b"{"])
    is_over = asyncio.Event()

    async def write() -> int:
        number = 6000
        while not is_over.is_set():
            await backend.record_event(event(number))
            number += 1
        return number

    async def rebuild() -> None:
        report = await backend.recover(REBUILD)
        is_over.set()
        (outcome,) = report.rebuilt
        assert outcome.obstacle == ""
        assert outcome.before_bytes is not None
        assert outcome.after_bytes is not None
        assert outcome.after_bytes < outcome.before_bytes / 2

    last, _ = await asyncio.gather(write(), rebuild())
    assert await numbers(backend) == [*range(0, 1000, 12), *_later(ids), *range(6000, last)]
    assert await wire.keys(f"*rebuild*{stream}*") == []


def _later(ids: Sequence[object]) -> list[int]:
    return [first + n for first in range(1000, len(ids), 1000) for n in range(0, 1000, 12)]


async def test_a_rebuild_that_cannot_be_done_says_why_and_leaves_all_as_it_was(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    await record_events(backend, 1)
    data = json.dumps({"kind": "event", "timestamp": 1.0})
    await wire("XADD", stream, "*", "data", data, *[str(number) for number in range(9000)])
    before = await fields_of(wire, stream)
    with caplog.at_level(logging.WARNING, "papyra_streams"):
        report = await backend.recover(REBUILD)

    assert "too many fields" in report.rebuilt[0].obstacle
    assert "was not written anew" in caplog.text
    assert report.repaired_files == ()
    assert await fields_of(wire, stream) == before


async def test_a_recovery_of_a_sample_passes_as_many_pending_entries_as_a_scan(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend(scan_sample_size=100)
    await backend.record_many([{"kind": "event", "timestamp": 1.0}] * 1000)
    await wire("XGROUP", "CREATE", stream, "workers", "0")
    await wire("XREADGROUP", "GROUP", "workers", "me", "COUNT", 1000, "STREAMS", stream, ">")
    ids = await stored(wire, stream)
    await wire("XDEL", stream, *[str(ids[position]) for position in (0, 99, 200, 950)])
    report = await backend.recover(REPAIR)

    assert 2 <= sum(each.count for each in report.recovered) < 4
    assert not (await backend.scan()).has_anomalies


async def test_who_may_not_swap_leaves_no_copy_behind(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire, namespace: str
) -> None:
    await private_wire("ACL", "SETUSER", "guest", "on", f">{SECRET}", "~*", "+@all", "-rename")
    await private_wire("XADD", f"{namespace}:orders:events", "*", "data", '{"kind": "event", "timestamp": 1.0}')
    with pytest.raises(PermissionDenied):
        await open_backend(url=private_server.url_as("guest", SECRET)).recover(REBUILD)

    assert [name.decode() for name in await private_wire.keys("*")] == [f"{namespace}:orders:events"]
