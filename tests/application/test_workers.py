"""What a worker does with its handler, without a server."""

import asyncio
import contextvars
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from papyra_streams import Delivery, InvalidValue, PermissionDenied, WrongType
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import RELEASED

from .subscribers import STREAM, Bench, messages, number_of, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def stop(anyio_backend: Any) -> anyio.Event:  # noqa: ARG001 -- an event belongs to an event loop
    return anyio.Event()


class Handled:
    """A handler that notes what it was given, and stops the worker when it has had enough."""

    def __init__(self, stop: anyio.Event, enough: int, fails: Callable[[Delivery], bool] = lambda _: False) -> None:
        self.seen: list[int] = []
        self._stop = stop
        self._enough = enough
        self._fails = fails

    async def __call__(self, delivery: Delivery) -> None:
        """Note it."""
        self.seen.append(number_of(delivery))
        if len(self.seen) >= self._enough:
            self._stop.set()
        if self._fails(delivery):
            raise ZeroDivisionError("no good")


async def test_each_entry_is_handled_and_acknowledged(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(100))
    handled = Handled(stop, 100)
    await bench.process(handled, stop=stop)
    assert sorted(handled.seen) == list(range(100))
    assert bench.pending == []
    assert bench.store.gone == ["me"]
    assert bench.metrics.entries_acknowledged == 100


async def test_so_many_handlers_run_at_a_time_as_asked_for_and_no_more(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(100))
    running, most, handled = 0, 0, 0
    all_run = anyio.Event()

    async def handle(_: Delivery) -> None:
        nonlocal running, most, handled
        running += 1
        most = max(most, running)
        if running == 7:
            all_run.set()
        await all_run.wait()
        await anyio.sleep(0.001)
        running -= 1
        handled += 1
        if handled == 100:
            stop.set()

    await bench.process(handle, stop=stop, concurrency=7)
    assert most == 7


async def test_a_slow_handler_does_not_hold_up_the_others(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(50))
    seen = []

    async def handle(delivery: Delivery) -> None:
        if number_of(delivery) == 0:
            await stop.wait()
        seen.append(number_of(delivery))
        if len(seen) == 49:
            stop.set()

    await bench.process(handle, stop=stop, concurrency=2)
    assert seen[-1] == 0


async def test_batches_come_as_lists_of_at_most_their_size(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(25))
    sizes = []

    async def handle(deliveries: list[Delivery]) -> None:
        sizes.append(len(deliveries))
        if sum(sizes) == 25:
            stop.set()

    await bench.process(handle, stop=stop, batch_size=10, concurrency=1)
    assert max(sizes) == 10
    assert bench.pending == []


async def test_a_batch_that_fails_comes_again_but_for_what_its_handler_settled(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(3))
    attempts: defaultdict[int, int] = defaultdict(int)

    async def handle(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            attempts[number_of(delivery)] += 1
        if not bench.store.released:
            await deliveries[0].ack()
            raise ZeroDivisionError
        if sum(attempts.values()) == 5:
            stop.set()

    await bench.process(handle, stop=stop, batch_size=3, concurrency=1)
    assert attempts == {0: 1, 1: 2, 2: 2}
    assert bench.metrics.handler_errors == 2


async def test_what_a_handler_raises_is_logged_and_the_entry_comes_again(
    bench: Bench, stop: anyio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write([1])
    handled = Handled(stop, 2, fails=lambda delivery: delivery.attempt == 1)
    await bench.process(handled, stop=stop)
    assert handled.seen == [1, 1]
    assert bench.metrics.handler_errors == 1
    (line,) = messages(caplog)
    assert line.endswith("the first of them 1-0 of papyra:orders:events in attempt 1: ZeroDivisionError('no good')")
    assert caplog.records[0].exc_info is not None


async def test_what_a_handler_raises_after_it_has_settled_its_entry_is_logged(
    bench: Bench, stop: anyio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write([1])

    async def handle(delivery: Delivery) -> None:
        await delivery.ack()
        stop.set()
        raise ZeroDivisionError

    await bench.process(handle, stop=stop)
    assert bench.metrics.handler_errors == 1
    assert any(line.endswith("in attempt 1: ZeroDivisionError()") for line in messages(caplog))
    assert bench.pending == []


async def test_poison_goes_to_the_quarantine_with_its_last_error_and_holds_up_nobody(
    bench: Bench, stop: anyio.Event
) -> None:
    bench.write(range(10))
    handled = Handled(stop, 12, fails=lambda delivery: number_of(delivery) == 4)
    await bench.process(handled, stop=stop, max_deliveries=3)
    assert handled.seen.count(4) == 3
    ((dead, _),) = bench.store.buried
    assert (dead.attempts, dead.error) == (3, "ZeroDivisionError('no good')")


async def test_a_handler_that_takes_too_long_is_cancelled_and_has_failed(bench: Bench, stop: anyio.Event) -> None:
    bench.write([1])
    attempts = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            await anyio.sleep_forever()
        stop.set()

    await bench.process(handle, stop=stop, timeout=0.05)
    assert attempts == [1, 2]
    assert bench.metrics.handler_errors == 1


async def test_a_handler_with_tasks_of_its_own_that_takes_too_long_has_taken_too_long(
    bench: Bench, stop: anyio.Event
) -> None:
    bench.write([1])

    async def handle(_: Delivery) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                tasks.start_soon(anyio.sleep_forever)
        finally:
            stop.set()

    await bench.process(handle, stop=stop, timeout=0.05, max_deliveries=1)
    ((dead, _),) = bench.store.buried
    assert dead.error == "TimeoutError('the handler took longer than 0.05 seconds')"


async def test_a_handler_whose_entry_is_taken_over_is_cancelled(bench: Bench, stop: anyio.Event) -> None:
    bench.write([1])
    begun, cancelled = anyio.Event(), anyio.Event()

    async def handle(_: Delivery) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: bench.process(handle, stop=stop))
        await begun.wait()
        bench.store.steal(STREAM, [EntryId(1, 0)], "other")
        with anyio.fail_after(5):
            await cancelled.wait()
        stop.set()
    assert bench.metrics.leases_lost == 1
    assert bench.metrics.handler_errors == 0
    assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == "other"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_handler_that_is_cancelled_from_within_has_failed(bench: Bench, stop: anyio.Event) -> None:
    bench.write([1])
    attempts = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            raise asyncio.CancelledError
        if delivery.attempt == 2:
            task = asyncio.current_task()
            assert task
            task.cancel()
            await anyio.sleep_forever()
        stop.set()

    await bench.process(handle, stop=stop, concurrency=1)
    assert attempts == [1, 2, 3]
    assert bench.metrics.handler_errors == 2


class Odd(BaseException):
    """What no handler should raise."""


class Broken(Exception):
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise self


@pytest.mark.parametrize("failure", [Odd("odd"), Broken("broken"), BaseExceptionGroup("two", [Odd(), ValueError()])])
async def test_whatever_a_handler_raises_the_worker_goes_on(
    bench: Bench, stop: anyio.Event, failure: BaseException
) -> None:
    bench.write(range(2))
    attempts: list[tuple[int, int]] = []

    async def handle(delivery: Delivery) -> None:
        attempts.append((number_of(delivery), delivery.attempt))
        if delivery.attempt == 1:
            raise failure
        if len(attempts) == 4:
            stop.set()

    await bench.process(handle, stop=stop)
    assert sorted(attempts) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert bench.metrics.handler_errors == 2
    assert bench.pending == []


async def test_a_handler_that_fails_while_it_is_cancelled_for_its_time_has_failed(
    bench: Bench, stop: anyio.Event
) -> None:
    bench.write([1])

    async def fail_late() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def handle(delivery: Delivery) -> None:
        if delivery.attempt == 2:
            stop.set()
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_late)
            await anyio.sleep_forever()

    await bench.process(handle, stop=stop, timeout=0.05)
    assert bench.metrics.handler_errors == 1
    assert bench.pending == []


@pytest.mark.parametrize(
    "failure",
    [KeyboardInterrupt(), SystemExit(), GeneratorExit(), BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()])],
    ids=lambda failure: type(failure).__name__,
)
async def test_what_ends_a_program_ends_the_worker_and_blames_no_entry(bench: Bench, failure: BaseException) -> None:
    bench.write([1])

    async def handle(_: Delivery) -> None:
        raise failure

    with pytest.raises((KeyboardInterrupt, SystemExit, GeneratorExit)):
        await bench.process(handle)
    assert bench.store.released == [(EntryId(1, 0), 2**31 - 1, RELEASED, False)]
    assert bench.metrics.handler_errors == 0


async def test_an_acknowledgement_that_is_refused_ends_the_worker(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write([1])
    bench.store.faults["settle"] = deque([PermissionDenied("NOPERM")])
    with pytest.raises(PermissionDenied):
        await bench.process(Handled(anyio.Event(), 5))
    assert any(line.startswith("Acknowledging 1 entries of group 'workers' failed") for line in messages(caplog))


async def test_a_handler_that_is_no_async_function_ends_the_worker_and_blames_no_entry(bench: Bench) -> None:
    bench.write(range(3))
    with pytest.raises(InvalidValue, match="must be an async function"):
        await bench.process(lambda delivery: 3)  # noqa: ARG005 -- what is wrong with it
    assert {row.consumer for row in bench.store.pending_of(STREAM).values()} <= {RELEASED}
    assert bench.metrics.handler_errors == 0


@pytest.mark.parametrize("handler", [None, "print", 3])
async def test_a_handler_that_cannot_be_called_is_refused(bench: Bench, handler: Any) -> None:
    with pytest.raises(InvalidValue, match="`handler` must be an async function"):
        await bench.process(handler)


async def test_what_a_handler_returns_means_nothing_and_is_said_once(
    bench: Bench, stop: anyio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write(range(3))
    seen = []

    async def handle(delivery: Delivery) -> bool:
        seen.append(delivery)
        if len(seen) == 3:
            stop.set()
        return False

    await bench.process(handle, stop=stop)
    assert bench.metrics.entries_acknowledged == 3
    assert len([line for line in messages(caplog) if "returned False, which means nothing" in line]) == 1


async def test_a_handler_sees_the_context_of_who_runs_the_worker(bench: Bench, stop: anyio.Event) -> None:
    tenant = contextvars.ContextVar[str]("tenant")
    tenant.set("acme")
    bench.write([1])
    seen = []

    async def handle(_: Delivery) -> None:
        seen.append(tenant.get())
        stop.set()

    await bench.process(handle, stop=stop)
    assert seen == ["acme"]


@pytest.mark.parametrize("error", [WrongType("No stream."), PermissionDenied("NOPERM")])
async def test_what_waiting_does_not_mend_ends_the_worker(bench: Bench, error: Exception) -> None:
    bench.store.outage = error
    with pytest.raises(type(error)):
        await bench.process(Handled(anyio.Event(), 1))


# -- order


async def test_one_actors_entries_are_handled_one_at_a_time_and_in_order(bench: Bench, stop: anyio.Event) -> None:
    for actor in "abc":
        bench.write(range(20), actor=actor)
    running: set[str] = set()
    seen: defaultdict[str, list[int]] = defaultdict(list)
    most = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal most
        actor = delivery.data["actor_address"]
        assert actor not in running
        running.add(actor)
        most = max(most, len(running))
        await anyio.sleep(0.001)
        running.discard(actor)
        seen[actor].append(number_of(delivery))
        if sum(map(len, seen.values())) == 60:
            stop.set()

    await bench.process(handle, stop=stop, ordering="actor", concurrency=60)
    assert seen == {actor: list(range(20)) for actor in "abc"}
    assert most == 3


async def test_in_order_what_is_in_hand_is_finished_within_the_grace_too(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(5))
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        await until(lambda: len(bench.pending) + len(seen) >= 5)
        stop.set()
        await anyio.sleep(0.01)
        seen.append(number_of(delivery))

    await bench.process(handle, stop=stop, ordering="stream", grace=5)
    assert seen == [0, 1, 2, 3, 4]


async def test_a_handler_that_changes_the_data_holds_up_no_actor(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(4), actor="a")
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.data.pop("payload"))
        delivery.data.pop("actor_address")
        if len(seen) == 4:
            stop.set()

    await bench.process(handle, stop=stop, ordering="actor")
    assert seen == [0, 1, 2, 3]
    assert bench.metrics.entries_acknowledged == 4
