"""What Papyra's own backend gets wrong, each as a promise that this one keeps."""

import json
import logging
import time
from typing import Any

import anyio
import pytest
from papyra import Actor, ActorSystem
from papyra.persistence import safe_metrics_snapshot
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistedEvent, PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams import (
    Closed,
    RedisConsumerGroupConfig,
    RedisStreamEntry,
    RedisStreamsConfig,
    RedisStreamsPersistence,
    WritePolicy,
)

from .arranging import eventually, fields_of
from .backends import WORKERS, OpenBackend, add_raw, event, numbers, record_events
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

QUARANTINE = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.QUARANTINE)
REPAIR = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.REPAIR)


class Greeter(Actor):
    """Answers whatever it is sent."""

    async def receive(self, message: Any) -> Any:
        return message


async def test_an_actor_system_outlives_its_server(driver_name: str, private_server: PrivateServer) -> None:
    config = RedisStreamsConfig(url=private_server.url, driver=driver_name, write_policy=WritePolicy(queue_seconds=0.5))
    backend = RedisStreamsPersistence(config)
    async with ActorSystem(persistence=backend) as system:
        await system.spawn(Greeter).ask("before", timeout=5.0)
        await _counted(backend, "records_written")
        private_server.kill()
        assert await system.spawn(Greeter).ask("during", timeout=5.0) == "during"
        await _counted(backend, "write_errors")
        assert await system.spawn(Greeter).ask("after", timeout=5.0) == "after"


async def _counted(backend: RedisStreamsPersistence, counter: str) -> None:
    async def has_counted() -> bool:
        return bool(safe_metrics_snapshot(backend)[counter])

    await eventually(has_counted, within=30.0)


async def test_a_limit_returns_the_newest_records_of_a_long_stream(open_backend: OpenBackend) -> None:
    backend = open_backend(max_read=10)
    await record_events(backend, 30)
    assert await numbers(backend, limit=3) == [27, 28, 29]
    assert await numbers(backend) == list(range(20, 30))


async def test_compaction_applies_the_age_limit(open_backend: OpenBackend, wire: Wire, namespace: str) -> None:
    backend = open_backend(RetentionPolicy(max_age_seconds=60), approx_trim=False)
    old = int((time.time() - 7200) * 1000)
    for number in range(5):
        await add_raw(wire, f"{namespace}:orders:events", _row(number, time.time() - 7200), f"{old}-{number}")
    await backend.record_event(event(5, timestamp=time.time()))
    report = await backend.compact()
    assert (report.before_records, report.after_records) == (6, 1)
    assert await numbers(backend) == [5]


async def test_compaction_applies_the_bytes_limit(open_backend: OpenBackend) -> None:
    writer = open_backend()
    await record_events(writer, 10)
    size = writer.metrics.bytes_written // 10
    backend = open_backend(RetentionPolicy(max_total_bytes=3 * size + size // 2), approx_trim=False)
    shown = await numbers(backend)
    report = await backend.compact()
    assert shown == [7, 8, 9]
    assert (report.before_records, report.after_records) == (10, 3)
    assert await numbers(backend) == shown


async def test_compaction_keeps_what_a_group_has_not_acknowledged(open_backend: OpenBackend) -> None:
    backend = open_backend(RetentionPolicy(max_records=2), approx_trim=False)
    await record_events(backend, 5)
    given = await backend.consume(kind="events", cfg=WORKERS)
    report = await backend.compact()
    assert report.removed_records == 0
    assert [(held.group, held.needs) for held in report.held_back] == [("workers", given[0].id)]
    await backend.ack(kind="events", group="workers", ids=[entry.id for entry in given])
    assert (await backend.compact()).after_records == 2


async def test_compaction_keeps_what_a_group_was_never_given(open_backend: OpenBackend) -> None:
    backend = open_backend(RetentionPolicy(max_records=2), approx_trim=False)
    await backend.ensure_consumer_group(kind="events", group="workers")
    await record_events(backend, 5)
    await backend.compact()
    given = await backend.consume(kind="events", cfg=WORKERS)
    assert [entry.data["payload"]["number"] for entry in given] == [0, 1, 2, 3, 4]


async def test_an_unreadable_entry_does_not_stay_pending_and_stays_in_the_stream(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    stream = f"{namespace}:orders:events"
    await backend.record_event(event(1))
    await add_raw(wire, stream, b"{not json")
    given = await backend.consume(kind="events", cfg=WORKERS)
    await backend.ack(kind="events", group="workers", ids=[entry.id for entry in given])
    assert [entry.data["payload"]["number"] for entry in given] == [1]
    assert (await backend.pending_summary(kind="events", group="workers")).count == 0
    assert backend.metrics.unreadable_entries == 1
    assert await wire("XLEN", stream) == 2
    assert len((await backend.scan()).anomalies) == 1


@pytest.mark.parametrize("mode", [REPAIR, QUARANTINE], ids=["repair", "quarantine"])
async def test_recovery_takes_a_bad_entry_off_every_pending_list(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str, mode: PersistenceRecoveryConfig
) -> None:
    stream = f"{namespace}:orders:events"
    await add_raw(wire, stream, b"{not json")
    for group in ("one", "two"):
        await wire("XGROUP", "CREATE", stream, group, "0")
        await wire("XREADGROUP", "GROUP", group, "raw", "STREAMS", stream, ">")
    await backend.recover(mode)
    for group in ("one", "two"):
        assert (await backend.pending_summary(kind="events", group=group)).count == 0
    assert not (await backend.scan()).has_anomalies


async def test_quarantine_keeps_the_id_and_every_field_byte_for_byte(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    stream = f"{namespace}:orders:events"
    await wire("XADD", stream, "7-3", "foo", b"\xff\x00", "n", "1", "foo", "again")
    report = await backend.recover(QUARANTINE)
    (quarantine,) = report.quarantined_files
    ((*head, _timestamp, name1, value1, name2, value2, name3, value3),) = await fields_of(wire, quarantine)
    assert head == [b"source", stream.encode(), b"id", b"7-3", b"reason", b"no field 'data'", b"timestamp"]
    assert (name1, value1, name2, value2) == (b"field:foo", b"\xff\x00", b"field:n", b"1")
    assert (name3, value3) == (b"field:foo", b"again")
    assert await wire("XLEN", stream) == 0
    assert await wire("EXISTS", stream) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"hello": "world"}, "not of kind 'event'"),
        ({"kind": "audit", "timestamp": 1.0}, "not of kind 'event'"),
        ({"kind": "event"}, "no usable timestamp"),
        ({"kind": "event", "timestamp": "noon"}, "no usable timestamp"),
        ([1, 2], "not a JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "not JSON"),
    ],
)
async def test_a_scan_finds_exactly_what_reads_skip(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str, data: object, reason: str
) -> None:
    bad = await add_raw(wire, f"{namespace}:orders:events", data)
    await backend.record_event(event(1))
    assert await numbers(backend) == [1]
    (anomaly,) = (await backend.scan()).anomalies
    assert anomaly.path == f"{namespace}:orders:events"
    assert anomaly.detail == f"entry {bad}: {reason}"


async def test_an_entry_that_is_not_utf8_disturbs_no_reader(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    await wire("XADD", f"{namespace}:orders:events", "*", b"\xfe", b"\xff", "data", b"\xff")
    await backend.record_event(event(1))
    assert await numbers(backend) == [1]
    assert len(await backend.consume(kind="events", cfg=WORKERS)) == 1


async def test_nan_is_stored_as_valid_json(backend: RedisStreamsPersistence, wire: Wire, namespace: str) -> None:
    await backend.record_event({"payload": {"ratio": float("nan")}, "timestamp": 1.0})
    ((_, data),) = await fields_of(wire, f"{namespace}:orders:events")
    assert json.loads(data, parse_constant=_refuse)["payload"] == {"ratio": {"$repr": "nan"}}
    assert len(await backend.list_events()) == 1


def _refuse(constant: str) -> None:
    pytest.fail(f"{constant} is not JSON")


async def test_a_block_of_zero_returns_at_once(backend: RedisStreamsPersistence) -> None:
    with anyio.fail_after(2.0):
        assert await backend.consume(kind="events", cfg=WORKERS) == ()


async def test_a_block_longer_than_the_command_timeout_waits_for_an_entry(open_backend: OpenBackend) -> None:
    backend = open_backend(command_timeout=0.3)
    await backend.ensure_consumer_group(kind="events", group="workers")
    patient = RedisConsumerGroupConfig(group="workers", consumer="worker-1", block_ms=10_000)
    given: list[RedisStreamEntry] = []

    async def consume() -> None:
        given.extend(await backend.consume(kind="events", cfg=patient))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await anyio.sleep(1.5)  # longer than the timeout, which is what this is about
        await backend.record_event(event(1))
    assert [entry.data["payload"]["number"] for entry in given] == [1]


async def test_a_block_without_limit_waits_for_an_entry(backend: RedisStreamsPersistence) -> None:
    endless = RedisConsumerGroupConfig(group="workers", consumer="worker-1", block_ms=None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.record_event, event(1))
        assert len(await backend.consume(kind="events", cfg=endless)) == 1


async def test_the_pending_summary_of_a_missing_group_is_zero(backend: RedisStreamsPersistence) -> None:
    for _ in range(2):
        summary = await backend.pending_summary(kind="events", group="nobody")
        assert (summary.count, summary.min_id, summary.max_id, summary.consumers) == (0, None, None, {})
        assert summary["raw"]["pending"] == 0
        await backend.record_event(event(1))


async def test_young_records_are_shown_though_the_clock_is_the_event_loops(open_backend: OpenBackend) -> None:
    backend = open_backend(RetentionPolicy(max_age_seconds=60))
    await backend.record_event(event(1, timestamp=anyio.current_time()))
    assert await numbers(backend) == [1]
    assert await numbers(backend, since=time.time() - 60) == [1]


async def test_a_record_after_closing_is_counted_and_logged(
    backend: RedisStreamsPersistence, caplog: pytest.LogCaptureFixture
) -> None:
    await backend.aclose()
    with caplog.at_level(logging.ERROR, logger="papyra_streams"):
        await backend.record_event(event(1))
    assert backend.metrics.write_errors == 1
    assert "is lost: The backend is closed" in caplog.text
    with pytest.raises(Closed):
        await backend.list_events()


async def test_the_password_is_in_no_representation(driver_name: str) -> None:
    config = RedisStreamsConfig(url=f"redis://operator:{SECRET}@localhost:1/0", driver=driver_name, connect_timeout=0.5)
    backend = RedisStreamsPersistence(config)
    with pytest.raises(Exception, match="localhost:1") as raised:
        await backend.list_events()
    shown = [repr(config), repr(backend), str(raised.value), repr(raised.value), repr(raised.value.__cause__)]
    assert not [text for text in shown if SECRET in text]
    assert "operator:***@localhost" in repr(config)


async def test_a_record_is_stored_once_though_the_reply_is_lost(
    private_server: PrivateServer, driver_name: str
) -> None:
    # What a paused server was sent it runs when it wakes, after the client has given up and before it tries again.
    config = RedisStreamsConfig(url=private_server.url, driver=driver_name, command_timeout=0.3)
    ours = RedisStreamsPersistence(config)
    await ours.record_event(event(0))
    async with anyio.create_task_group() as tasks:
        private_server.pause()
        tasks.start_soon(ours.record_event, event(1))
        await _counted(ours, "write_retries")
        private_server.resume()
    assert await numbers(ours) == [0, 1]
    assert ours.metrics.records_written == 2
    await ours.aclose()


def _row(number: int, timestamp: float) -> dict[str, Any]:
    stored = PersistedEvent("orders", f"orders:{number}", "ActorStarted", {"number": number}, timestamp)
    return {"kind": "event", **{name: getattr(stored, name) for name in stored.__slots__}}
