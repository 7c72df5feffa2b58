"""Workers and subscriptions in one process: what is handled, in which order, and what is left at the end."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from papyra_streams import Delivery, InvalidValue, RedisStreamsPersistence
from papyra_streams.application.subscribing.subscription import Subscription
from papyra_streams.domain.groups import RELEASED

from .arranging import eventually, member, pending_rows
from .backends import OpenBackend
from .test_subscribing import GROUP, LONG, consumers, give_to_the_departed, held, next_of, number_of, record, work
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

Handler = Callable[[Any], Awaitable[object]]


async def process(
    backend: RedisStreamsPersistence, handler: Handler, *, stop: anyio.Event | None = None, **settings: Any
) -> None:
    """Run a worker, which must come to its end in time."""
    with anyio.fail_after(10):
        await backend.process(kind="events", cfg=work(**settings), handler=handler, stop=stop)


class Handled:
    """A handler that notes what it was given, and stops the worker when it has had enough."""

    def __init__(self, enough: int) -> None:
        self.seen: list[tuple[int, int]] = []
        self.stop = anyio.Event()
        self._enough = enough

    async def __call__(self, delivery: Delivery) -> None:
        """Note it."""
        self.seen.append((number_of(delivery), delivery.attempt))
        if len(self.seen) >= self._enough:
            self.stop.set()


class Hanging:
    """A handler that notes what it was given, and returns when it is let go."""

    def __init__(self) -> None:
        self.begun: list[Delivery] = []
        self.cancelled = 0
        self.let_go = anyio.Event()

    async def __call__(self, given: Delivery | list[Delivery]) -> None:
        """Note it and wait."""
        self.begun += given if isinstance(given, list) else [given]
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def has_begun(self, count: int) -> None:
        """Wait until so many deliveries were given."""
        with anyio.fail_after(5):
            while len(self.begun) < count:
                await anyio.sleep(0.002)


# -- handling


async def test_each_entry_is_handled_and_acknowledged_once(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(300))
    handled = Handled(300)
    await process(backend, handled, stop=handled.stop)
    assert sorted(handled.seen) == [(number, 1) for number in range(300)]
    assert await pending_rows(wire, member(stream)) == {}
    assert backend.metrics.entries_acknowledged == 300
    assert await consumers(backend) == set()


async def test_workers_of_a_group_share_its_entries_and_each_group_has_them_all(
    backend: RedisStreamsPersistence,
) -> None:
    await record(backend, range(100))
    seen: defaultdict[str, list[int]] = defaultdict(list)
    stop = anyio.Event()

    def handler(group: str) -> Handler:
        async def handle(delivery: Delivery) -> None:
            await anyio.lowlevel.checkpoint()
            seen[group].append(number_of(delivery))
            if sum(map(len, seen.values())) == 200:
                stop.set()

        return handle

    async def share(group: str, consumer: str) -> None:
        await process(backend, handler(group), stop=stop, group=group, consumer=consumer, claim_idle=LONG)

    async with anyio.create_task_group() as tasks:
        for group, consumer in (("a", "one"), ("a", "two"), ("b", "one")):
            tasks.start_soon(share, group, consumer)
    assert {group: sorted(numbers) for group, numbers in seen.items()} == {group: list(range(100)) for group in "ab"}


async def test_while_handlers_hang_nothing_is_read_that_no_handler_has(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(50))
    hanging, stop = Hanging(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: process(backend, hanging, stop=stop, concurrency=3, batch_size=4, claim_idle=LONG))
        await hanging.has_begun(12)
        assert await held(wire, stream) == {"me": 12}
        # The next look for stuck entries is half a second away.
        with anyio.move_on_after(0.6):
            await hanging.has_begun(13)
        assert await held(wire, stream) == {"me": 12}
        assert await wire.number("XLEN", stream) == 50
        stop.set()
        hanging.let_go.set()
    assert len(hanging.begun) <= 24
    assert await pending_rows(wire, member(stream)) == {}


async def test_batches_are_lists_of_at_most_their_size_and_settled_one_by_one_where_the_handler_does(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(10))
    stop = anyio.Event()
    sizes: list[int] = []
    attempts: Counter[int] = Counter()

    async def handle(batch: list[Delivery]) -> None:
        sizes.append(len(batch))
        attempts.update(number_of(delivery) for delivery in batch)
        if sum(attempts.values()) >= 13:
            stop.set()
        if batch[0].attempt == 1 and len(sizes) == 1:
            await batch[0].ack()
            raise ZeroDivisionError

    await process(backend, handle, stop=stop, concurrency=1, batch_size=4)
    assert max(sizes) == 4
    assert attempts == Counter({0: 1} | dict.fromkeys((1, 2, 3), 2) | dict.fromkeys(range(4, 10), 1))
    assert await pending_rows(wire, member(stream)) == {}


async def test_a_failed_entry_is_left_alone_for_longer_with_each_attempt(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(2))
    (old,) = await give_to_the_departed(wire, stream, 1)
    await wire("XCLAIM", stream, GROUP, "departed", 0, str(old), "IDLE", 3_600_000, "RETRYCOUNT", 2, "JUSTID")
    handled = Handled(2)

    async def handle(delivery: Delivery) -> None:
        await handled(delivery)
        raise ZeroDivisionError

    await process(backend, handle, stop=handled.stop, backoff=10.0, claim_idle=60.0)
    assert sorted(handled.seen) == [(0, 3), (1, 1)]
    rows = await wire.rows("XPENDING", stream, GROUP, "-", "+", 10)
    third, first = [row[2] for row in rows if isinstance(row, list) and isinstance(row[2], int)]
    # What is given back looks as if it had been idle for a lease less the wait, of which up to a half is left out.
    assert 60_000 - 10_000 <= first <= 60_000 - 5_000 + 2_000
    assert 60_000 - 40_000 <= third <= 60_000 - 20_000 + 2_000


# -- leases


async def test_a_slow_handler_keeps_its_entry_from_another_worker(backend: RedisStreamsPersistence) -> None:
    await record(backend, [0])
    hanging, other, stop = Hanging(), Handled(1), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: process(backend, hanging, stop=stop, claim_idle=0.6))
        await hanging.has_begun(1)
        tasks.start_soon(lambda: process(backend, other, stop=stop, consumer="other", claim_idle=0.6))
        with anyio.move_on_after(2 * 0.6):
            await other.stop.wait()
        assert other.seen == []
        hanging.let_go.set()
        stop.set()
    assert backend.metrics.entries_acknowledged == 1
    assert backend.metrics.leases_lost == 0


async def test_the_handler_of_an_entry_that_is_taken_away_is_cancelled_and_blames_nobody(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    hanging, stop = Hanging(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: process(backend, hanging, stop=stop, claim_idle=2.0))
        await hanging.has_begun(1)
        await wire("XCLAIM", stream, GROUP, "thief", 0, hanging.begun[0].id, "IDLE", 0)
        with anyio.fail_after(5):
            while not hanging.cancelled:
                await anyio.sleep(0.01)
        stop.set()
    assert (backend.metrics.leases_lost, backend.metrics.handler_errors) == (1, 0)
    assert await held(wire, stream) == {"thief": 1}


# -- several kinds and systems, and order


async def test_one_worker_handles_several_kinds_of_several_systems(
    open_backend: OpenBackend, wire: Wire, namespace: str
) -> None:
    backends = {name: open_backend(system_id=name) for name in ("orders", "stores")}
    for backend in backends.values():
        await record(backend, range(2))
        await backend.record_audit({"total_actors": 1})
    seen: list[tuple[str, str, str]] = []
    stop = anyio.Event()

    async def handle(delivery: Delivery) -> None:
        seen.append((delivery.system_id, delivery.kind, delivery.record.system_id))
        if len(seen) == 6:
            stop.set()

    cfg = work(systems=("orders", "stores"), claim_idle=LONG)
    with anyio.fail_after(5):
        await backends["orders"].process(kind=("events", "audits"), cfg=cfg, handler=handle, stop=stop)
    expected = {(name, kind, name): count for name in backends for kind, count in (("events", 2), ("audits", 1))}
    assert Counter(seen) == expected
    for name, kind, _ in expected:
        assert await pending_rows(wire, member(f"{namespace}:{name}:{kind}")) == {}


async def test_one_actors_entries_are_handled_one_at_a_time_and_in_order_though_some_fail(
    backend: RedisStreamsPersistence,
) -> None:
    for actor in "abc":
        await record(backend, [0], actor=actor)
    running: set[str] = set()
    most = 0
    done: defaultdict[str, list[int]] = defaultdict(list)
    stop = anyio.Event()

    async def handle(delivery: Delivery) -> None:
        nonlocal most
        actor = delivery.data["actor_address"]
        assert actor not in running
        running.add(actor)
        most = max(most, len(running))
        if delivery.attempt == 1 and number_of(delivery) < 9:
            await record(backend, [number_of(delivery) + 1], actor=actor)
        await anyio.sleep(0.005)
        running.discard(actor)
        if delivery.attempt == 1 and number_of(delivery) % 4 == 0:
            raise ZeroDivisionError
        done[actor].append(number_of(delivery))
        if sum(map(len, done.values())) == 30:
            stop.set()

    await process(backend, handle, stop=stop, ordering="actor", concurrency=30)
    assert done == {actor: list(range(10)) for actor in "abc"}
    assert most == 3
    assert backend.metrics.handler_errors == 9


async def test_in_order_one_worker_is_active_and_the_next_goes_on_where_it_ended(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(4))
    async with AsyncExitStack() as stack, AsyncExitStack() as leading:
        settings = {"ordering": "stream", "claim_idle": 2.0}
        first = await leading.enter_async_context(backend.subscription(kind="events", cfg=work(**settings)))
        assert await _acknowledged(first) == (0, 1)
        assert number_of(await next_of(first)) == 1
        standby = work(consumer="other", **settings)
        second = await stack.enter_async_context(backend.subscription(kind="events", cfg=standby))
        with anyio.move_on_after(0.3):
            await anext(second)
            pytest.fail("Two were given entries at a time.")
        await leading.aclose()
        assert [await _acknowledged(second) for _ in range(3)] == [(1, 1), (2, 1), (3, 1)]
    assert await pending_rows(wire, member(stream)) == {}


async def _acknowledged(subscription: Subscription) -> tuple[int, int]:
    """Acknowledge the next delivery; return its number and attempt."""
    async with await next_of(subscription) as delivery:
        return number_of(delivery), delivery.attempt


# -- the end


async def test_what_is_finished_within_the_grace_is_acknowledged_and_the_rest_handed_over_at_once(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(3))
    hanging, stop = Hanging(), anyio.Event()

    async def handle(delivery: Delivery) -> None:
        if number_of(delivery) > 0:
            await hanging(delivery)
        await stop.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: process(backend, handle, stop=stop, concurrency=3, grace=0.2, claim_idle=LONG))
        await hanging.has_begun(2)
        stop.set()
    assert hanging.cancelled == 2
    assert Counter((await pending_rows(wire, member(stream))).values()) == {(RELEASED, 0): 2}
    assert await consumers(backend) == set()
    handled = Handled(2)
    await process(backend, handled, stop=handled.stop, consumer="next", claim_idle=LONG)
    assert sorted(handled.seen) == [(1, 1), (2, 1)]
    assert await pending_rows(wire, member(stream)) == {}


async def test_a_worker_that_is_stopped_before_it_begins_handles_nothing_and_leaves_nothing(
    backend: RedisStreamsPersistence,
) -> None:
    await record(backend, range(5))
    stop = anyio.Event()
    stop.set()
    await process(backend, Hanging(), stop=stop, claim_idle=LONG, grace=0)
    assert await consumers(backend) == set()
    handled = Handled(5)
    await process(backend, handled, stop=handled.stop, claim_idle=LONG)
    assert sorted(handled.seen) == [(number, 1) for number in range(5)]


async def test_what_a_subscription_leaves_is_nobodys_and_the_next_has_it_at_once(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(3))
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        await (await next_of(subscription)).ack()
        left = await next_of(subscription)
    assert Counter((await pending_rows(wire, member(stream))).values()) == {(RELEASED, 0): 2}
    assert await consumers(backend) == set()
    with pytest.raises(InvalidValue, match="settled before: returned"):
        await left.ack()
    async with backend.subscription(kind="events", cfg=work(consumer="next", claim_idle=LONG)) as subscription:
        assert [await _acknowledged(subscription) for _ in range(2)] == [(1, 1), (2, 1)]


def _checkpoints() -> Iterator[int]:
    """Yield numbers that lie close together at first, and then apart."""
    number = 0
    while number < 300:
        yield number
        number += 1 + number // 8


@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_a_worker_that_is_cancelled_at_whatever_moment_loses_nothing(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, ordering: str
) -> None:
    done: list[int] = []

    async def handle(delivery: Delivery) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(number_of(delivery))

    async def cancelled_after(checkpoints: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: process(backend, handle, concurrency=2, ordering=ordering, claim_idle=0.1))
            for _ in range(checkpoints):
                await asyncio.sleep(0)
            tasks.cancel_scope.cancel()

    moments = list(_checkpoints())
    for number, checkpoints in enumerate(moments):
        await record(backend, range(2 * number, 2 * number + 2))
        await cancelled_after(checkpoints)
        assert set(await held(wire, stream)) <= {RELEASED}
        assert await consumers(backend) == set()
    stop = anyio.Event()
    expected = set(range(2 * len(moments)))

    async def all_is_done() -> bool:
        return set(done) == expected and not await pending_rows(wire, member(stream))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: process(backend, handle, stop=stop, claim_idle=0.1, ordering=ordering))
        await eventually(all_is_done)
        stop.set()
    # Few moments lie between the end of a handler and its acknowledgement.
    assert len(done) < 3 * len(moments)
