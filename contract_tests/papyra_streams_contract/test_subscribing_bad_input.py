"""What goes wrong around a subscription: poison, lost groups, handlers that misbehave, and names."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from papyra_streams import (
    Closed,
    Delivery,
    GroupMissing,
    InvalidValue,
    LeaseLost,
    RedisStreamsPersistence,
    UnknownKind,
    WrongType,
)
from papyra_streams.application.subscribing.subscription import Subscription

from .arranging import eventually, member, pending_rows, stored
from .backends import WORKERS, OpenBackend, add_raw
from .servers import PrivateServer
from .test_processing import Handled, Hanging, process
from .test_subscribing import GROUP, LONG, consumers, give_to_the_departed, held, next_of, number_of, record, work
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


# -- poison


@pytest.mark.parametrize(
    "error", ["LookupError('there is no \N{SNOWMAN}')", "TimeoutError('the handler took longer than 0.1 seconds')"]
)
async def test_an_entry_that_always_fails_goes_to_the_quarantine_with_its_story(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, error: str
) -> None:
    await record(backend, range(5))
    handled = Handled(7)

    async def handle(delivery: Delivery) -> None:
        await handled(delivery)
        if number_of(delivery) != 2:
            return
        if "Timeout" in error:
            await anyio.sleep_forever()
        raise LookupError("there is no \N{SNOWMAN}")

    await process(backend, handle, stop=handled.stop, max_deliveries=3, timeout=0.1)
    assert Counter(number for number, _ in handled.seen) == {0: 1, 1: 1, 2: 3, 3: 1, 4: 1}
    (entry,) = await backend.quarantine_list(kind="events")
    ids = await stored(wire, stream)
    assert (entry.source_id, entry.group, entry.attempts) == (str(ids[2]), GROUP, 3)
    assert (entry.reason, entry.error) == ("delivered too often", error)
    assert await pending_rows(wire, member(stream)) == {}
    assert len(ids) == 5
    assert (backend.metrics.entries_quarantined, backend.metrics.handler_errors) == (1, 3)


async def test_an_entry_that_took_its_workers_with_it_too_often_is_not_delivered_again(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(2))
    (poison,) = await give_to_the_departed(wire, stream, 1)
    await wire("XCLAIM", stream, GROUP, "departed", 0, str(poison), "IDLE", 3_600_000, "RETRYCOUNT", 3, "JUSTID")
    handled = Handled(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: process(backend, handled, stop=handled.stop, max_deliveries=3, claim_idle=LONG))
        await eventually(lambda: _are_quarantined(backend, 1))
    (entry,) = await backend.quarantine_list(kind="events")
    assert (entry.source_id, entry.attempts, entry.reason) == (str(poison), 3, "delivered too often")
    assert handled.seen == [(1, 1)]


async def test_what_cannot_be_read_is_in_quarantine_at_once_and_holds_up_nothing(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    bad = [await add_raw(wire, stream, data) for data in (b"\xff", b"no JSON", [1], {"kind": 7})]
    bad.append((await wire.text("XADD", stream, "*", "other", "field")).decode())
    await record(backend, range(2))
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        for number in range(2):
            async with await next_of(subscription) as delivery:
                assert number_of(delivery) == number
        await eventually(lambda: _are_quarantined(backend, len(bad)))
    listed = await backend.quarantine_list(kind="events")
    assert sorted(entry.source_id for entry in listed) == sorted(bad)
    assert all(entry.reason for entry in listed)
    assert await pending_rows(wire, member(stream)) == {}
    assert len(await stored(wire, stream)) == 2
    assert backend.metrics.unreadable_entries == len(bad)


async def _are_quarantined(backend: RedisStreamsPersistence, count: int) -> bool:
    return len(await backend.quarantine_list(kind="events")) == count


async def test_what_was_rejected_is_listed_and_once_replayed_comes_once(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(2))
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        rejected = await next_of(subscription)
        await rejected.reject("no such order")
        await (await next_of(subscription)).ack()
        (entry,) = await backend.quarantine_list(kind="events")
        assert (entry.source_id, entry.reason, entry.attempts) == (rejected.id, "no such order", 1)
        first = await backend.quarantine_replay(kind="events", ids=[entry.id])
        second = await backend.quarantine_replay(kind="events", ids=[entry.id])
        assert (first.pending, first.missing, second.missing) == ((entry.id,), (), (entry.id,))
        async with await next_of(subscription) as again:
            assert (again.id, number_of(again), again.attempt) == (rejected.id, 0, 1)
    assert await pending_rows(wire, member(stream)) == {}
    assert await backend.quarantine_list(kind="events") == ()
    assert backend.metrics.entries_delivered == 3


# -- groups that are lost


async def begin_work(backend: RedisStreamsPersistence, subscription: Subscription) -> Delivery:
    """Acknowledge the first two of five entries; return the third."""
    await record(backend, range(5))
    for _ in range(2):
        await (await next_of(subscription)).ack()
    return await next_of(subscription)


@pytest.mark.parametrize(("on_group_lost", "expected"), [("resume", [2, 3, 4]), ("replay", [0, 1, 2, 3, 4])])
async def test_a_group_that_was_destroyed_goes_on_as_it_is_asked_to(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, on_group_lost: str, expected: list[int]
) -> None:
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG, on_group_lost=on_group_lost)) as one:
        in_hand = await begin_work(backend, one)
        await wire("XGROUP", "DESTROY", stream, GROUP)
        with pytest.raises(LeaseLost):
            await in_hand.ack()
        seen: list[tuple[int, int]] = []
        while len(seen) < len(expected):
            delivery = await next_of(one)
            # What was read before the group was lost may come, and is lost as well.
            with suppress(LeaseLost):
                await delivery.ack()
                seen.append((number_of(delivery), delivery.attempt))
        assert sorted(seen) == [(number, 1) for number in expected]
    assert await pending_rows(wire, member(stream)) == {}
    assert backend.metrics.groups_restored == 1


@pytest.mark.parametrize("on_group_lost", ["resume", "replay"])
async def test_after_everything_was_flushed_what_is_recorded_then_comes(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire, on_group_lost: str
) -> None:
    backend = on_server(open_backend, private_server)
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG, on_group_lost=on_group_lost)) as one:
        in_hand = await begin_work(backend, one)
        await private_wire("FLUSHALL")
        with pytest.raises(LeaseLost):
            await in_hand.ack()
        await record(backend, [10, 11])
        seen: list[int] = []
        while len(seen) < 2:
            delivery = await next_of(one)
            with suppress(LeaseLost):
                await delivery.ack()
                seen.append(number_of(delivery))
        assert seen == [10, 11]


@pytest.mark.parametrize("harm", ["XGROUP DESTROY papyra:orders:events workers", "FLUSHALL"])
async def test_a_worker_that_is_to_fail_without_its_group_does(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire, harm: str
) -> None:
    backend = on_server(open_backend, private_server)
    await record(backend, [0])
    handled = Handled(1)

    async def destroy() -> None:
        await handled.stop.wait()
        await private_wire(*harm.split())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(destroy)
        with pytest.raises(GroupMissing):
            await process(backend, handled, on_group_lost="fail", claim_idle=LONG)


def on_server(open_backend: OpenBackend, server: PrivateServer) -> RedisStreamsPersistence:
    """Make a backend on a server that the test may harm."""
    return open_backend(url=server.url, prefix="papyra")


# -- handlers


async def end_the_program(_: Delivery) -> None:
    """Handle nothing."""
    raise SystemExit


@pytest.mark.parametrize(
    ("handler", "error"), [(print, InvalidValue), (lambda _: 3, InvalidValue), (end_the_program, SystemExit)]
)
async def test_a_handler_that_is_not_async_or_ends_the_program_ends_the_worker_and_costs_no_attempt(
    backend: RedisStreamsPersistence, handler: Callable[[Any], Any], error: type[BaseException]
) -> None:
    await record(backend, range(3))
    with pytest.raises(error):
        await process(backend, handler, claim_idle=LONG)
    handled = Handled(3)
    await process(backend, handled, stop=handled.stop, claim_idle=LONG)
    assert sorted(handled.seen) == [(number, 1) for number in range(3)]


async def test_what_a_handler_returns_means_nothing(backend: RedisStreamsPersistence, wire: Wire, stream: str) -> None:
    await record(backend, range(3))
    handled = Handled(3)

    async def handle(delivery: Delivery) -> object:
        await handled(delivery)
        return [False, object(), ZeroDivisionError()][number_of(delivery)]

    await process(backend, handle, stop=handled.stop, claim_idle=LONG)
    assert sorted(handled.seen) == [(number, 1) for number in range(3)]
    assert await pending_rows(wire, member(stream)) == {}


async def test_a_handler_that_cannot_be_cancelled_keeps_neither_the_worker_nor_its_entry(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    stop, let_go = anyio.Event(), anyio.Event()

    async def handle(_: Delivery) -> None:
        stop.set()
        with anyio.CancelScope(shield=True):
            await let_go.wait()

    await process(backend, handle, stop=stop, grace=0, claim_idle=LONG)
    handled = Handled(1)
    await process(backend, handled, stop=handled.stop, consumer="next", claim_idle=LONG)
    assert handled.seen == [(0, 1)]
    let_go.set()
    await anyio.wait_all_tasks_blocked()
    assert await pending_rows(wire, member(stream)) == {}
    assert backend.metrics.entries_acknowledged == 1


async def test_a_handler_that_cannot_be_cancelled_in_time_takes_one_slot_only(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(5))
    handled, let_go = Handled(5), anyio.Event()

    async def handle(delivery: Delivery) -> None:
        await handled(delivery)
        if number_of(delivery) == 0:
            with anyio.CancelScope(shield=True):
                await let_go.wait()

    async with anyio.create_task_group() as tasks:
        settings = {"timeout": 0.05, "concurrency": 2, "claim_idle": LONG}
        tasks.start_soon(lambda: process(backend, handle, stop=handled.stop, **settings))
        with anyio.fail_after(5):
            await handled.stop.wait()
        assert (await held(wire, stream))["me"] >= 1
        let_go.set()
    assert [number for number, _ in handled.seen] == list(range(5))
    assert len(await pending_rows(wire, member(stream))) <= 1


class Broken(BaseException):
    """What no `except Exception` catches, and what cannot even be shown."""

    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    "error",
    [Broken(), BaseExceptionGroup("", [Broken()]), asyncio.CancelledError(), StopAsyncIteration()],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_is_a_failed_attempt_and_the_worker_goes_on(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, error: BaseException
) -> None:
    await record(backend, range(3))
    handled = Handled(4)

    async def handle(delivery: Delivery) -> None:
        await handled(delivery)
        if handled.seen[-1] == (1, 1):
            raise error

    await process(backend, handle, stop=handled.stop)
    assert sorted(handled.seen) == [(0, 1), (1, 1), (1, 2), (2, 1)]
    assert await pending_rows(wire, member(stream)) == {}
    assert backend.metrics.handler_errors == 1


# -- names and arguments


@pytest.mark.parametrize("group", [" two words ", "für {alle}:\n*", "0", "x" * 1000])
async def test_a_group_may_have_any_name(backend: RedisStreamsPersistence, wire: Wire, stream: str, group: str) -> None:
    await record(backend, range(2))
    async with backend.subscription(kind="events", cfg=work(group=group, consumer=group)) as subscription:
        await (await next_of(subscription)).reject("no good")
        await (await next_of(subscription)).nack()
        async with await next_of(subscription) as delivery:
            assert delivery.attempt == 2
    (entry,) = await backend.quarantine_list(kind="events")
    assert entry.group == group
    assert await pending_rows(wire, member(stream, group=group)) == {}


@pytest.mark.parametrize(
    ("kind", "cfg"),
    [(kind, work()) for kind in ("event", "", (), ("events", "events"), ("events", "nonsense"))]
    + [("events", cfg) for cfg in (None, WORKERS, {"group": GROUP})],
)
async def test_arguments_that_are_none_are_refused_before_anything_is_made(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, kind: Any, cfg: Any
) -> None:
    with pytest.raises((UnknownKind, InvalidValue)):
        await backend.process(kind=kind, cfg=cfg, handler=Hanging())
    with pytest.raises((UnknownKind, InvalidValue)):
        async with backend.subscription(kind=kind, cfg=cfg):
            pytest.fail("It was opened.")
    assert await wire("EXISTS", stream) == 0


async def test_a_key_that_is_no_stream_ends_the_worker(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await wire("SET", stream, "text")
    with pytest.raises(WrongType):
        await process(backend, Hanging())
    assert await wire("GET", stream) == b"text"


async def test_two_workers_of_one_name_handle_each_entry_once_and_neither_takes_the_others_away(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(4))
    cfg = work(concurrency=2, claim_idle=LONG)
    async with backend.subscription(kind="events", cfg=cfg) as one:
        first = [await next_of(one) for _ in range(2)]
        async with backend.subscription(kind="events", cfg=cfg) as other:
            second = [await next_of(other) for _ in range(2)]
            assert sorted(map(number_of, first + second)) == [0, 1, 2, 3]
            await second[0].ack()
        # The one that has gone handed over what it had, and nothing else.
        assert (await held(wire, stream))["me"] == 2
        assert await consumers(backend) == {"me"}
        for delivery in first:
            await delivery.ack()
        async with await next_of(one) as left:
            assert (left.id, left.attempt) == (second[1].id, 1)
    assert await pending_rows(wire, member(stream)) == {}
    assert await consumers(backend) == set()
    assert backend.metrics.leases_lost == 0


async def test_a_consumer_under_whose_name_something_is_pending_stays(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        await (await next_of(subscription)).ack()
        (identifier,) = await stored(wire, stream)
        # Somebody else of this name has it.
        await wire("XCLAIM", stream, GROUP, "me", 0, str(identifier), "FORCE", "JUSTID")
    assert await consumers(backend) == {"me"}
    assert (await held(wire, stream))["me"] == 1


async def test_a_worker_whose_backend_is_closed_ends_and_says_so(
    open_backend: OpenBackend, wire: Wire, stream: str
) -> None:
    backend = open_backend()
    await record(backend, [0])

    async def close(_: Delivery) -> None:
        await backend.aclose()

    with pytest.raises(Closed):
        await process(backend, close)
    handled = Handled(1)
    await process(open_backend(), handled, stop=handled.stop, consumer="next")
    assert handled.seen == [(0, 2)]
    assert await pending_rows(wire, member(stream)) == {}
