"""When a worker ends, and what it finishes before, without a server."""

import asyncio
import os
import signal
import threading
from collections import deque
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from papyra_streams import Delivery, PermissionDenied
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


def is_listening() -> bool:
    """Tell whether a worker waits for SIGTERM."""
    return signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


async def test_what_is_in_hand_is_finished_within_the_grace(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(3))
    finished = []

    async def handle(delivery: Delivery) -> None:
        stop.set()
        await anyio.sleep(0.05)
        finished.append(number_of(delivery))

    await bench.process(handle, stop=stop, grace=5, concurrency=3)
    assert sorted(finished) == [0, 1, 2]
    assert bench.pending == []


async def test_what_outlasts_the_grace_is_handed_over_and_not_counted(bench: Bench, stop: anyio.Event) -> None:
    bench.write([1])

    async def handle(_: Delivery) -> None:
        stop.set()
        await anyio.sleep_forever()

    begun = anyio.current_time()
    await bench.process(handle, stop=stop, grace=0.1)
    assert 0.09 < anyio.current_time() - begun < 2
    assert bench.store.released == [(EntryId(1, 0), 2**31 - 1, RELEASED, False)]
    assert bench.metrics.handler_errors == 0


async def test_a_worker_without_grace_cancels_at_once(bench: Bench, stop: anyio.Event) -> None:
    bench.write([1])

    async def handle(_: Delivery) -> None:
        stop.set()
        await anyio.sleep_forever()

    await bench.process(handle, stop=stop, grace=0)
    assert len(bench.store.released) == 1


async def test_a_handler_that_ignores_its_cancellation_keeps_nobody_waiting(
    bench: Bench, stop: anyio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write([1])
    released = anyio.Event()

    async def handle(_: Delivery) -> None:
        stop.set()
        with anyio.CancelScope(shield=True):
            await released.wait()

    await bench.process(handle, stop=stop, grace=0.05)
    assert "1 handlers of group 'workers' ignore that they are cancelled, and are left behind." in messages(caplog)
    assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == RELEASED
    released.set()
    await anyio.sleep(0.01)


async def test_a_cancelled_worker_hands_over_at_once(bench: Bench) -> None:
    bench.write(range(3))
    begun = anyio.Event()

    async def handle(_: Delivery) -> None:
        begun.set()
        await anyio.sleep_forever()

    with anyio.move_on_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: bench.process(handle, grace=60))
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert len(bench.store.released) == 3
    assert bench.store.gone == ["me"]


async def test_sigterm_stops_a_worker(bench: Bench) -> None:
    assert threading.current_thread() is threading.main_thread()
    bench.write(range(3))
    finished = []

    async def handle(delivery: Delivery) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(0.05)
        finished.append(number_of(delivery))

    await bench.process(handle, concurrency=1, grace=5)
    assert finished == [0]
    assert bench.store.gone == ["me"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_program_with_a_handler_of_its_own_for_sigterm_keeps_it(bench: Bench, stop: anyio.Event) -> None:
    seen: list[str] = []
    former = signal.signal(signal.SIGTERM, lambda *_: seen.append("mine"))
    try:
        bench.write([1])

        async def handle(_: Delivery) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: bool(seen))
            stop.set()

        await bench.process(handle, stop=stop)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert seen == ["mine"]


async def test_a_cancelled_worker_begins_no_further_handler(bench: Bench) -> None:
    bench.write([0])
    begun = anyio.Event()
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(number_of(delivery))
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            bench.write([1])
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.2)

    with anyio.move_on_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: bench.process(handle))
            await begun.wait()
            tasks.cancel_scope.cancel()
    assert seen == [0]


async def test_sigterm_stops_every_worker_of_a_program(bench: Bench) -> None:
    async def handle(delivery: Delivery) -> None:
        pytest.fail(f"nobody wrote {delivery}")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for consumer in "abc":
                tasks.start_soon(lambda name: bench.process(handle, consumer=name), consumer)
            await until(lambda: bench.store.calls.count("join") == 3 and is_listening())
            os.kill(os.getpid(), signal.SIGTERM)
    assert sorted(bench.store.gone) == ["a", "b", "c"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("turns", range(6))
async def test_sigterm_stops_a_worker_whose_neighbour_has_ended(bench: Bench, stop: anyio.Event, turns: int) -> None:
    async def handle(delivery: Delivery) -> None:
        pytest.fail(f"nobody wrote {delivery}")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: bench.process(handle, consumer="first", stop=stop))
            await until(is_listening)
            tasks.start_soon(lambda: bench.process(handle, consumer="second"))
            await until(lambda: bench.store.calls.count("join") == 2)
            stop.set()
            while bench.store.gone != ["first"]:
                await anyio.lowlevel.checkpoint()
            # At no moment may it be that nobody listens.
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            os.kill(os.getpid(), signal.SIGTERM)
    assert bench.store.gone == ["first", "second"]


async def test_what_is_in_hand_is_finished_though_the_reading_has_failed(bench: Bench) -> None:
    bench.write([1])
    finished: list[int] = []

    async def handle(delivery: Delivery) -> None:
        bench.store.faults["take"] = deque([PermissionDenied("NOPERM")])
        bench.write([2])
        await until(lambda: not bench.store.faults["take"])
        await anyio.sleep(0.05)
        finished.append(number_of(delivery))

    with pytest.raises(PermissionDenied):
        await bench.process(handle, concurrency=2, grace=5)
    assert finished == [1]
    assert bench.store.gone == ["me"]


def test_a_handler_that_is_cancelled_with_its_event_loop_has_not_failed(bench: Bench) -> None:
    bench.write(range(3))

    async def main() -> None:
        begun: list[int] = []

        async def handle(delivery: Delivery) -> None:
            begun.append(number_of(delivery))
            await anyio.sleep_forever()

        worker = asyncio.ensure_future(bench.process(handle, concurrency=3, max_deliveries=1))
        await until(lambda: len(begun) == 3)
        assert not worker.done()

    asyncio.run(main())
    assert bench.metrics.handler_errors == 0
    assert [counted for *_, counted in bench.store.released] == [False] * 3
    assert bench.store.buried == []


async def test_what_hangs_is_given_a_grace_too_where_the_reading_has_failed(bench: Bench) -> None:
    bench.write([1])
    begun = anyio.current_time()

    async def handle(_: Delivery) -> None:
        bench.store.faults["take"] = deque([PermissionDenied("NOPERM")])
        bench.write([2])
        await anyio.sleep_forever()

    with pytest.raises(PermissionDenied):
        await bench.process(handle, concurrency=2, grace=0.1)
    assert anyio.current_time() - begun < 2


async def test_nothing_more_is_read_after_a_stop(bench: Bench, stop: anyio.Event) -> None:
    bench.write(range(5))
    begun: list[int] = []

    async def handle(delivery: Delivery) -> None:
        begun.append(number_of(delivery))
        await until(lambda: len(begun) == 3)
        stop.set()
        await anyio.sleep(0.02 * number_of(delivery))

    await bench.process(handle, stop=stop, concurrency=3, grace=5)
    assert begun == [0, 1, 2]


async def test_a_second_sigterm_does_not_cut_the_grace_short(bench: Bench) -> None:
    bench.write([1])
    finished: list[int] = []

    async def handle(delivery: Delivery) -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep(0.05)
        finished.append(number_of(delivery))

    await bench.process(handle, grace=5)
    assert finished == [1]
    assert bench.pending == []
