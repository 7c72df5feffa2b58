"""What a compaction removes, what holds it back, and what is told of both."""

import asyncio

import pytest
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams import RedisStreamsPersistence

from .arranging import eventually
from .backends import WORKERS, OpenBackend, event, record_events
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_a_report_tells_of_each_stream(open_backend: OpenBackend, stream: str) -> None:
    backend = open_backend(RetentionPolicy(max_records=2), approx_trim=False)
    await record_events(backend, 500)
    report = await backend.compact()

    of_events = report.streams[0]
    assert (of_events.stream, of_events.before_records, of_events.after_records) == (stream, 500, 2)
    assert of_events.removed_records == report.removed_records == 498
    assert of_events.before_bytes is not None
    assert of_events.after_bytes is not None
    assert of_events.after_bytes < of_events.before_bytes


async def test_what_holds_compaction_back_is_named_with_its_consumer_and_age(
    open_backend: OpenBackend, stream: str
) -> None:
    backend = open_backend(RetentionPolicy(max_records=1), approx_trim=False)
    await record_events(backend, 3)
    given = await backend.consume(kind="events", cfg=WORKERS)
    await backend.ack(kind="events", group="workers", ids=[given[0].id])
    forecast, report = await backend.compact(dry_run=True), await backend.compact()

    for each in (forecast, report):
        (held,) = each.held_back
        assert (held.stream, held.group, held.needs, held.consumer) == (stream, "workers", given[1].id, "worker-1")
        assert 0 <= held.age < 60
        assert (each.removed_records, each.after_records) == (1, 2)
    assert (forecast.dry_run, report.dry_run) == (True, False)


async def test_a_group_that_is_abandoned_no_longer_holds_it_back(
    open_backend: OpenBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_backend(RetentionPolicy(max_records=1), approx_trim=False, abandoned_after=1.0)
    await record_events(backend, 4)
    await backend.consume(kind="events", cfg=WORKERS)
    foreseen: list[tuple[str, ...]] = []
    report = await backend.compact()

    async def is_compacted() -> bool:
        nonlocal report
        foreseen.append((await backend.compact(dry_run=True)).streams[0].abandoned)
        report = await backend.compact()
        return report.removed_records > 0

    assert report.held_back
    caplog.clear()
    await eventually(is_compacted)
    assert (report.removed_records, report.held_back, report.streams[0].abandoned) == (3, (), ("workers",))
    assert foreseen[0] == ()
    assert "nobody was heard of in it" in caplog.text
    assert (await backend.pending_summary(kind="events", group="workers")).count == 1
    assert not (await backend.scan()).has_anomalies


async def test_compactions_at_once_among_writers_and_workers_lose_nothing(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend(RetentionPolicy(max_records=20), approx_trim=False)
    handled: list[int] = []

    async def write() -> None:
        for number in range(400):
            await backend.record_event(event(number))

    async def work() -> None:
        while len(handled) < 400:
            given = await backend.consume(kind="events", cfg=WORKERS)
            handled.extend(entry.data["payload"]["number"] for entry in given)
            await backend.ack(kind="events", group="workers", ids=[entry.id for entry in given])

    async def compact(other: RedisStreamsPersistence) -> int:
        removed = 0
        while len(handled) < 400:
            removed += (await other.compact()).removed_records
        return removed + (await other.compact()).removed_records

    await backend.ensure_consumer_group(kind="events", group="workers")
    other = open_backend(RetentionPolicy(max_records=20), approx_trim=False)
    _, _, first, second = await asyncio.gather(write(), work(), compact(backend), compact(other))
    assert handled == [*range(400)]
    assert first + second == 380
    assert await wire("XLEN", stream) == 20
