"""What a scan finds, of a sample and of everything, and what it points out."""

from typing import Any

import pytest
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams import InvalidValue, Progress, RedisStreamsPersistence, StreamAnomaly, StreamsScanReport
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

from .arranging import eventually
from .backends import QUARANTINE, WORKERS, OpenBackend, add_raw, damage, record_events
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

GONE = "pending, but no longer in the stream"


def entry_ids(report: StreamsScanReport) -> list[str]:
    return [each.entry_id for each in report.anomalies if isinstance(each, StreamAnomaly)]


async def test_a_scan_of_a_sample_leaves_out_what_a_full_one_finds(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend(scan_sample_size=2)
    (old,) = await damage(wire, stream, [b"{"])
    await record_events(backend, 2)

    assert entry_ids(await backend.scan()) == []
    assert entry_ids(await backend.scan(full=True)) == [old]


async def test_a_scan_counts_all_and_names_so_many(backend: RedisStreamsPersistence, wire: Wire, stream: str) -> None:
    ids = await damage(wire, stream, [b"{", b"{", b"\xff"])
    await add_raw(wire, f"{stream[: -len('events')]}audits", b"[]")
    report = await backend.scan(limit=2)

    assert entry_ids(report) == [ids[2], ids[1]]
    assert (report.found, report.examined) == (4, 4)
    assert {(each.stream, each.reason): each.count for each in report.counts} == {
        (stream, "not JSON"): 2,
        (stream, "not UTF-8"): 1,
        (f"{stream[: -len('events')]}audits", "not a JSON object"): 1,
    }
    assert backend.metrics.anomalies_detected == 4


async def test_a_scan_names_what_is_pending_and_gone(backend: RedisStreamsPersistence, wire: Wire, stream: str) -> None:
    await record_events(backend, 3)
    given = await backend.consume(kind="events", cfg=WORKERS)
    await wire("XDEL", stream, given[1].id)
    (found,) = (await backend.scan()).anomalies

    assert isinstance(found, StreamAnomaly)
    assert (found.path, found.entry_id, found.group, found.reason) == (stream, given[1].id, "workers", GONE)
    assert (await backend.pending_summary(kind="events", group="workers")).count == 3


async def test_a_scan_tells_how_far_it_has_come(backend: RedisStreamsPersistence, wire: Wire, stream: str) -> None:
    await record_events(backend, 250)
    await damage(wire, stream, [b"{"])
    told: list[Progress] = []

    async def tell(progress: Progress) -> None:
        told.append(progress)

    await backend.scan(full=True, progress=tell)
    assert [(each.done, each.total, each.found) for each in told] == [(100, 251, 1), (251, 251, 1)]
    assert {(each.step, each.stream) for each in told} == {("scan", stream)}


async def test_what_retention_hides_by_position_is_not_reported(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend(RetentionPolicy(max_records=1), approx_trim=False)
    await damage(wire, stream, [b"{"])
    await record_events(backend, 1)
    (young,) = await damage(wire, stream, [b"{"])

    assert entry_ids(await backend.scan(full=True)) == [young]
    assert (await backend.compact()).removed_records == 1
    assert entry_ids(await backend.scan(full=True)) == [young]


async def test_what_retention_hides_by_the_age_of_its_id_is_not_reported(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend(RetentionPolicy(max_age_seconds=3600), approx_trim=False)
    await add_raw(wire, stream, b"{", "1600000000000-0")
    (young,) = await damage(wire, stream, [b"{"])

    assert entry_ids(await backend.scan()) == [young]
    assert (await backend.compact()).removed_records == 1


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "all"])
async def test_a_limit_that_is_none_is_refused(backend: RedisStreamsPersistence, limit: int) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        await backend.scan(limit=limit)


# -- what no recovery mends


async def test_a_group_nobody_is_heard_of_in_is_pointed_out(
    open_backend: OpenBackend, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_backend(abandoned_after=1.0)
    await record_events(backend, 2)
    await backend.consume(kind="events", cfg=WORKERS)

    async def is_told() -> bool:
        return len((await backend.scan()).warnings) == 2

    await eventually(is_told)
    caplog.clear()
    report = await backend.scan()
    assert [(each.subject, each.group, each.consumers) for each in report.warnings] == [
        ("group", "workers", ()),
        ("consumers", "workers", ("worker-1",)),
    ]
    assert all(stream in each.detail for each in report.warnings)
    assert len(caplog.records) == 2
    assert not report.has_anomalies


async def test_a_group_that_waits_for_its_first_consumer_is_not_abandoned(backend: RedisStreamsPersistence) -> None:
    await record_events(backend, 2)
    await backend.ensure_consumer_group(kind="events", group="workers")
    forecast = await backend.compact(dry_run=True)

    assert (await backend.scan()).warnings == ()
    assert forecast.held_back == ()


async def test_a_group_whose_entry_has_waited_for_a_week_without_a_consumer_is(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await add_raw(wire, stream, {"kind": "event", "timestamp": 1.0}, "1700000000000-1")
    await backend.ensure_consumer_group(kind="events", group="workers")
    (warning,) = (await backend.scan()).warnings

    assert "it has no consumer, and waits for" in warning.detail
    assert "1700000000000-1" in warning.detail


async def test_a_living_group_is_not(backend: RedisStreamsPersistence) -> None:
    await record_events(backend, 2)
    await backend.consume(kind="events", cfg=WORKERS)

    assert (await backend.scan()).warnings == ()


async def test_a_quarantine_that_grows_is_pointed_out(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await damage(wire, stream, [b"{", b"{"])
    await backend.recover(QUARANTINE)
    report = await backend.scan()
    (warning,) = report.warnings

    assert not report.has_anomalies
    assert (warning.subject, warning.stream) == ("quarantine", backend.config.keyspace().quarantine(Partition(EVENTS)))
    assert "holds 2" in warning.detail


async def test_consumers_nobody_hears_of_are_pointed_out_together(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend(abandoned_after=1.0)
    await record_events(backend, 1)
    await wire("XGROUP", "CREATE", stream, "workers", "0")
    for number in range(30):
        await wire("XADD", stream, "*", "data", "{}")
        await wire("XREADGROUP", "GROUP", "workers", f"pod-{number}", "COUNT", 1, "STREAMS", stream, ">")

    async def are_all_told() -> bool:
        return any("They hold 30 entries" in each.detail for each in (await backend.scan()).warnings)

    await eventually(are_all_told)
    (warning,) = [each for each in (await backend.scan()).warnings if each.subject == "consumers"]
    assert (len(warning.consumers), warning.group) == (5, "workers")
    assert "and 25 more" in warning.detail


async def test_a_scan_is_made_though_what_it_would_point_out_may_not_be_looked_at(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire, namespace: str
) -> None:
    rights = ["+@all", "-time", "-@dangerous", "+info", *private_server.rights]
    await private_wire("ACL", "SETUSER", "guest", "on", f">{SECRET}", "~*", *rights)
    await private_wire("XADD", f"{namespace}:orders:events", "*", "data", "{")
    report = await open_backend(url=private_server.url_as("guest", SECRET)).scan()

    assert [each.reason for each in report.anomalies if isinstance(each, StreamAnomaly)] == ["not JSON"]
    assert {each.subject for each in report.warnings} == {"access"}


@pytest.mark.parametrize("progress", ["a name", print, lambda _: None])
async def test_a_progress_that_cannot_be_awaited_is_refused(backend: RedisStreamsPersistence, progress: Any) -> None:
    with pytest.raises(InvalidValue, match="progress"):
        await backend.scan(progress=progress)


@pytest.mark.parametrize("settings", [{}, {"startup_timeout": 50.0}])
async def test_a_timeout_of_the_callers_own_is_raised_as_it_is(
    open_backend: OpenBackend, settings: dict[str, float]
) -> None:
    backend = open_backend(**settings)
    await record_events(backend, 1)

    async def fail(_: Progress) -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await backend.scan(progress=fail)
