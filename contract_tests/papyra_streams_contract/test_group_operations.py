"""How groups stand, who is in them, and who is removed."""

import time
from dataclasses import replace
from typing import Any

import anyio
import pytest

from papyra_streams import (
    GroupMissing,
    GroupStatus,
    InvalidName,
    InvalidValue,
    RedisStreamsConfig,
    RedisStreamsPersistence,
    UnknownKind,
)
from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import ConsumerState, StreamStore

from .arranging import eventually, fill
from .backends import WORKERS, OpenBackend, event, record_events
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

NOBODY_YET = GroupStatus(
    stream="",
    group="workers",
    length=0,
    lag=0,
    pending=0,
    oldest_pending_age=None,
    highest_attempt=0,
    consumers=(),
)


async def give(wire: Wire, stream: str, consumer: str, count: int, *, group: str = "workers") -> None:
    """Have a consumer given entries."""
    await wire("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", stream, ">")


async def form_group(wire: Wire, stream: str, count: int, *, group: str = "workers") -> list[EntryId]:
    """Add entries, and a group that begins before them."""
    ids = await fill(wire, stream, count)
    await wire("XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
    return ids


async def count_attempts(wire: Wire, stream: str, consumer: str, entry: EntryId, attempts: int) -> None:
    """Let a pending entry look as if it had been delivered so often."""
    await wire("XCLAIM", stream, "workers", consumer, 0, str(entry), "RETRYCOUNT", attempts, "JUSTID")


async def idle_ms(wire: Wire, stream: str, consumer: str) -> int:
    """Return for how long the server has not heard of a consumer."""
    for row in await wire.rows("XINFO", "CONSUMERS", stream, "workers"):
        assert isinstance(row, list)
        if consumer.encode() in row:
            idle = row[row.index(b"idle") + 1]
            assert isinstance(idle, int)
            return idle
    raise AssertionError(consumer)


# -- status


async def test_a_status_tells_what_is_left_and_what_is_in_hand(
    backend: RedisStreamsPersistence, store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await form_group(wire, stream, 5)
    await give(wire, stream, "me", 2)
    await give(wire, stream, "another", 1)
    await count_attempts(wire, stream, "me", ids[1], 7)

    status = await backend.group_status(kind="events", group="workers")
    assert (status.stream, status.group, status.length, status.pending) == (stream, "workers", 5, 3)
    assert status.lag == (2 if (await store.capabilities()).lag else None)
    assert status.highest_attempt == 7
    held = [(consumer.name, consumer.pending, consumer.highest_attempt) for consumer in status.consumers]
    assert held == [("another", 1, 1), ("me", 2, 7)]


async def test_a_group_that_nobody_has_joined_stands_at_nothing(backend: RedisStreamsPersistence, stream: str) -> None:
    await backend.ensure_consumer_group(kind="events", group="workers")

    status = await backend.group_status(kind="events", group="workers")
    # Where the server does not count the lag, it is not known that nothing is left.
    assert status.lag in {0, None}
    assert replace(status, lag=0) == replace(NOBODY_YET, stream=stream)


async def test_a_group_that_has_acknowledged_everything_has_nothing_in_hand(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    ids = await form_group(wire, stream, 3)
    await give(wire, stream, "me", 3)
    await wire("XACK", stream, "workers", *map(str, ids))

    status = await backend.group_status(kind="events", group="workers")
    assert (status.length, status.lag, status.pending) == (3, 0, 0)
    assert (status.oldest_pending_age, status.highest_attempt) == (None, 0)
    assert [(consumer.pending, consumer.highest_attempt) for consumer in status.consumers] == [(0, 0)]


async def test_a_lag_that_the_server_cannot_tell_is_unknown(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 5)
    await wire("XDEL", stream, str(ids[3]))
    await wire("XGROUP", "CREATE", stream, "workers", str(ids[1]))

    assert (await backend.group_status(kind="events", group="workers")).lag is None


async def test_the_oldest_entry_in_hand_ages_by_the_servers_clock(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    before = await _server_ms(wire)
    await wire("XADD", stream, f"{before - 90_000}-0", "data", "old")
    await wire("XADD", stream, f"{before - 10_000}-0", "data", "newer")
    await wire("XGROUP", "CREATE", stream, "workers", "0")
    await give(wire, stream, "me", 2)

    status = await backend.group_status(kind="events", group="workers")
    assert status.oldest_pending_age is not None
    assert 90.0 <= status.oldest_pending_age <= 90.0 + (await _server_ms(wire) - before) / 1000


async def test_an_entry_from_the_future_is_not_older_than_now(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    await wire("XADD", stream, f"{await _server_ms(wire) + 3_600_000}-0", "data", "ahead")
    await wire("XGROUP", "CREATE", stream, "workers", "0")
    await give(wire, stream, "me", 1)

    assert (await backend.group_status(kind="events", group="workers")).oldest_pending_age == 0


async def test_the_highest_attempt_is_found_however_much_is_pending(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    ids = await form_group(wire, stream, 2001)
    await give(wire, stream, "me", 2000)
    await give(wire, stream, "another", 1)
    await count_attempts(wire, stream, "me", ids[1000], 4)
    await count_attempts(wire, stream, "another", ids[-1], 9)

    status = await backend.group_status(kind="events", group="workers")
    assert status.pending == 2001
    assert status.highest_attempt == 9
    assert [(consumer.name, consumer.highest_attempt) for consumer in status.consumers] == [("another", 9), ("me", 4)]


async def test_asking_writes_nothing(backend: RedisStreamsPersistence, stream: str, wire: Wire, namespace: str) -> None:
    await form_group(wire, stream, 3)
    await give(wire, stream, "me", 2)
    dumped = await wire("XINFO", "GROUPS", stream)

    await backend.group_status(kind="events", group="workers")
    await backend.consumers(kind="events", group="workers")
    assert await wire("XINFO", "GROUPS", stream) == dumped
    assert await wire.keys(f"*{namespace}*") == [stream.encode()]


async def test_names_may_be_of_any_text(backend: RedisStreamsPersistence, stream: str, wire: Wire) -> None:
    group = "für alle {Fälle}:\n*"
    await form_group(wire, stream, 2, group=group)
    await give(wire, stream, "Zoë \N{SNOWMAN}", 1, group=group)
    await give(wire, stream, " a b ", 1, group=group)

    status = await backend.group_status(kind="events", group=group)
    assert status.group == group
    assert [consumer.name for consumer in status.consumers] == [" a b ", "Zoë \N{SNOWMAN}"]


async def test_each_kind_has_groups_of_its_own(backend: RedisStreamsPersistence) -> None:
    await backend.ensure_consumer_group(kind="audits", group="workers")

    assert (await backend.group_status(kind="audits", group="workers")).stream.endswith(":audits")
    with pytest.raises(GroupMissing):
        await backend.group_status(kind="dead_letters", group="workers")


# -- consumers


async def test_consumers_tell_since_when_they_were_not_heard_of(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    await form_group(wire, stream, 1)
    await give(wire, stream, "early", 1)
    await eventually(lambda: _is_idle(wire, stream, "early", 60))
    began = time.monotonic()
    await wire("XGROUP", "CREATECONSUMER", stream, "workers", "late")

    early, late = await backend.consumers(kind="events", group="workers")
    assert (early.name, late.name) == ("early", "late")
    assert early.idle_ms >= 60
    assert late.idle_ms <= (time.monotonic() - began) * 1000 + 1
    # Before Redis 7.2 the server does not tell.
    assert early.inactive_ms is None or early.inactive_ms >= 60


async def test_many_consumers_are_all_there(backend: RedisStreamsPersistence, stream: str, wire: Wire) -> None:
    await form_group(wire, stream, 0)
    for number in range(300):
        await wire("XGROUP", "CREATECONSUMER", stream, "workers", f"worker-{number:03}")

    consumers = await backend.consumers(kind="events", group="workers")
    assert [consumer.name for consumer in consumers] == [f"worker-{number:03}" for number in range(300)]


# -- removing


async def test_only_consumers_that_hold_nothing_are_removed(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    ids = await form_group(wire, stream, 3)
    await give(wire, stream, "holds", 2)
    await give(wire, stream, "done", 1)
    await wire("XACK", stream, "workers", str(ids[1]), str(ids[2]))
    await wire("XGROUP", "CREATECONSUMER", stream, "workers", "idler")
    await eventually(lambda: _is_idle(wire, stream, "idler", 20))

    removed = await backend.remove_idle_consumers(kind="events", group="workers", older_than=0.02)
    assert removed == ("done", "idler")
    status = await backend.group_status(kind="events", group="workers")
    assert [consumer.name for consumer in status.consumers] == ["holds"]
    assert (status.pending, status.length) == (1, 3)


async def test_a_consumer_that_was_just_heard_of_stays(
    backend: RedisStreamsPersistence, stream: str, wire: Wire
) -> None:
    await form_group(wire, stream, 0)
    await wire("XGROUP", "CREATECONSUMER", stream, "workers", "me")

    assert await backend.remove_idle_consumers(kind="events", group="workers", older_than=60) == ()
    assert [each.name for each in await backend.consumers(kind="events", group="workers")] == ["me"]


async def test_a_consumer_that_takes_an_entry_while_it_is_to_be_removed_stays(
    store: StreamStore, stream: str, wire: Wire, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await form_group(wire, stream, 1)
    await wire("XGROUP", "CREATECONSUMER", stream, "workers", "back")
    await wire("XGROUP", "CREATECONSUMER", stream, "workers", "gone")
    await eventually(lambda: _is_idle(wire, stream, "gone", 20))
    list_consumers = store.consumers

    async def list_and_be_late(stream: str, group: str) -> list[ConsumerState]:
        listed = await list_consumers(stream, group)
        await give(wire, stream, "back", 1)
        return listed

    monkeypatch.setattr(store, "consumers", list_and_be_late)
    backend = RedisStreamsPersistence(RedisStreamsConfig(prefix=namespace, system_id="orders"), store=store)
    assert await backend.remove_idle_consumers(kind="events", group="workers", older_than=0.02) == ("gone",)
    monkeypatch.undo()
    assert [(each.name, each.pending) for each in await store.consumers(stream, "workers")] == [("back", 1)]
    await backend.aclose()


async def test_a_worker_that_was_removed_while_it_waited_gets_the_next_entry(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire
) -> None:
    backend = open_backend(url=private_server.url, prefix="papyra")
    waiting = replace(WORKERS, block_ms=20_000)
    await record_events(backend, 1)
    (first,) = await backend.consume(kind="events", cfg=waiting)
    await backend.ack(kind="events", group="workers", ids=[first.id])
    given: list[str] = []

    async def wait() -> None:
        given.extend(entry.id for entry in await backend.consume(kind="events", cfg=waiting))

    async def waits() -> bool:
        return b"blocked_clients:1\r" in await private_wire.text("INFO", "clients")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await eventually(waits)
        await eventually(lambda: _is_idle(private_wire, "papyra:orders:events", "worker-1", 20))
        removed = await backend.remove_idle_consumers(kind="events", group="workers", older_than=0.02)
        await backend.record_event(event(1))
    assert removed == ("worker-1",)
    assert len(given) == 1
    assert (await backend.pending_summary(kind="events", group="workers")).consumers == {"worker-1": 1}


# -- what is missing, and what is wrong

OPERATIONS: dict[str, dict[str, Any]] = {
    "group_status": {},
    "consumers": {},
    "remove_idle_consumers": {"older_than": 1},
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_missing_group_is_told(
    backend: RedisStreamsPersistence, stream: str, wire: Wire, operation: str
) -> None:
    ask = getattr(backend, operation)
    with pytest.raises(GroupMissing):
        await ask(kind="events", group="workers", **OPERATIONS[operation])

    await form_group(wire, stream, 1, group="others")
    with pytest.raises(GroupMissing):
        await ask(kind="events", group="workers", **OPERATIONS[operation])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("group", ["", "x" * 1001, "x" * 1_000_000, "\ud800", None, 7, b"workers"])
async def test_a_name_that_is_none_is_refused(backend: RedisStreamsPersistence, operation: str, group: Any) -> None:
    with pytest.raises(InvalidName):
        await getattr(backend, operation)(kind="events", group=group, **OPERATIONS[operation])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", ["event", "", None, ("events",)])
async def test_a_kind_that_is_none_is_refused(backend: RedisStreamsPersistence, operation: str, kind: Any) -> None:
    with pytest.raises(UnknownKind):
        await getattr(backend, operation)(kind=kind, group="workers", **OPERATIONS[operation])


@pytest.mark.parametrize("older_than", [0, -1, True, None, "60", float("nan"), float("inf"), 2**31])
async def test_an_age_that_is_none_is_refused_before_anything_is_removed(
    open_backend: OpenBackend, stream: str, wire: Wire, older_than: Any
) -> None:
    await form_group(wire, stream, 0)
    await wire("XGROUP", "CREATECONSUMER", stream, "workers", "me")

    with pytest.raises(InvalidValue, match="older_than"):
        await open_backend().remove_idle_consumers(kind="events", group="workers", older_than=older_than)
    assert len(await wire.rows("XINFO", "CONSUMERS", stream, "workers")) == 1


async def _server_ms(wire: Wire) -> int:
    seconds, microseconds = await wire.rows("TIME")
    assert isinstance(seconds, bytes)
    assert isinstance(microseconds, bytes)
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _is_idle(wire: Wire, stream: str, consumer: str, for_ms: int) -> bool:
    return await idle_ms(wire, stream, consumer) >= for_ms
