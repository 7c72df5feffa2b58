"""The time limit that redis-py's and valkey-py's exchanges share."""

import asyncio
import socket
import time

import pytest

from papyra_streams_adapters._redispy.patience import Patience

pytestmark = pytest.mark.asyncio


async def test_what_takes_too_long_is_ended() -> None:
    patience = Patience()

    with pytest.raises(TimeoutError), patience.lasting(0.01):
        await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # a test is a task


async def test_one_that_ran_out_serves_the_next() -> None:
    patience = Patience()
    for _ in range(3):
        with pytest.raises(TimeoutError), patience.lasting(0.01):
            await asyncio.Event().wait()

    with patience.lasting(5):
        await asyncio.sleep(0.02)


async def test_a_timer_of_an_earlier_exchange_does_not_end_a_later_one() -> None:
    patience = Patience()
    with patience.lasting(0.01):
        pass

    with patience.lasting(5):
        await asyncio.sleep(0.05)


async def test_a_timer_of_an_earlier_exchange_does_not_delay_a_later_ones_end() -> None:
    patience = Patience()
    with patience.lasting(60):
        pass

    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError), patience.lasting(0.01):
            await asyncio.Event().wait()


async def test_what_came_while_the_event_loop_was_busy_came_in_time() -> None:
    patience = Patience()
    near, far = socket.socketpair()
    with near, far:
        reader, writer = await asyncio.open_connection(sock=near)
        with patience.lasting(0.05):
            reading = asyncio.ensure_future(reader.readexactly(3))
            await asyncio.sleep(0)
            far.send(b"yes")
            time.sleep(0.1)  # noqa: ASYNC251 -- nothing else keeps the event loop busy for certain
            assert await reading == b"yes"
        writer.close()


async def test_many_exchanges_share_one_timer() -> None:
    patience = Patience()
    loop = asyncio.get_running_loop()
    before = len(loop._scheduled)  # type: ignore[attr-defined]  # asyncio has no public count
    for _ in range(100):
        with patience.lasting(60):
            pass

    assert len(loop._scheduled) == before + 1  # type: ignore[attr-defined]  # as above
    patience.end()


async def test_a_cancelled_caller_is_cancelled_not_late() -> None:
    patience = Patience()
    waiting = asyncio.Event()

    async def wait() -> None:
        with patience.lasting(60):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await waiting.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_caller_that_is_cancelled_as_time_runs_out_is_cancelled() -> None:
    patience = Patience()

    async def wait() -> None:
        with patience.lasting(0.01):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.cancel()
                raise

    task = asyncio.create_task(wait())
    await asyncio.wait([task])
    assert task.cancelled()


async def test_an_error_passes_though_time_ran_out_with_it() -> None:
    patience = Patience()

    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise LookupError from error

    with pytest.raises(LookupError), patience.lasting(0.01):
        await fail()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # a test is a task
