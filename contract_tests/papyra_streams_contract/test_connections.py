"""Connections that end, fall silent, or are given up, while the server behind them is well."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from papyra_streams.errors import Indeterminate, StreamsError, Unavailable
from papyra_streams.ports import Confirmation, StreamStore, Timeouts

from .arranging import eventually, mark, others
from .fixtures import IMPATIENT, OpenStore
from .proxy import Proxy, before_one_server
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

HURRIED = Timeouts(connect=2.0, command=0.3)

Call = Callable[[StreamStore, int], Awaitable[object]]

CALLS: dict[str, Call] = {
    "append": lambda store, number: store.append("other", [b"a"], mark=mark("other", number + 1)),
    "append confirmed": lambda store, number: store.append(
        "other", [b"a"], mark=mark("other", number + 1), confirmation=Confirmation(fsync=True, timeout_ms=1)
    ),
    "read_group held": lambda store, _: store.read_group("stream", "workers", "me", count=1, block_ms=10),
}


@before_one_server
async def test_connections_that_were_reset_while_idle_fail_no_call(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire
) -> None:
    async with Proxy(private_server) as proxy:
        store = open_store(proxy.target, IMPATIENT)
        await asyncio.gather(*(store.ping() for _ in range(5)))
        proxy.reset()
        # The event loop goes round meanwhile, and each connection hears of it.
        await private_wire("PING")

        for first in range(1, 6):
            assert (await store.append("stream", [b"a"], mark=mark("stream", first))).count == 1


@before_one_server
async def test_a_connection_that_falls_silent_is_left_though_each_caller_gives_up_early(
    open_store: OpenStore, private_server: PrivateServer
) -> None:
    async with Proxy(private_server) as proxy:
        store = open_store(proxy.target, IMPATIENT)
        await store.ping()
        proxy.fall_silent()

        async def answers() -> bool:
            try:
                async with asyncio.timeout(0.3 * IMPATIENT.command):
                    await store.ping()
            except (TimeoutError, Indeterminate):
                return False
            return True

        await eventually(answers, within=3 * IMPATIENT.command)


async def test_what_was_given_up_is_not_sent_after_the_store_was_closed(
    private_store: StreamStore, private_server: PrivateServer, private_wire: Wire
) -> None:
    await private_store.append("stream", [b"a"], mark=mark("stream", 1))
    private_server.pause()
    # More than the system takes without being read.
    appends = (
        private_store.append("stream", [b"x" * 20_000_000], mark=mark("stream", 1, producer=f"{number}"))
        for number in range(3)
    )
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    await private_store.aclose()
    private_server.resume()

    async def alone() -> bool:
        return await others(private_wire) == 0

    assert all(isinstance(outcome, Indeterminate | Unavailable) for outcome in outcomes)
    await eventually(alone)
    assert await private_wire("XLEN", "stream") == 1


async def test_callers_that_give_up_leave_nothing_to_be_sent_without_bound(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire
) -> None:
    store = open_store(private_server.target, Timeouts(connect=10.0, command=10.0))
    await store.append("stream", [b"a"], mark=mark("stream", 1))
    private_server.pause()
    for number in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.append("stream", [b"x" * 5_000_000], mark=mark("stream", 1, producer=f"{number}"))
    private_server.resume()
    await store.ping()

    assert await private_wire.number("XLEN", "stream") <= 3


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_reply_that_came_while_the_event_loop_was_busy_came_in_time(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire, call: Call
) -> None:
    store = open_store(private_server.target, HURRIED)
    await store.create_group("stream", "workers", start="0")
    await call(store, 0)
    for number in range(1, 6):
        await private_wire("XADD", "stream", "*", "data", "x")
        task = asyncio.ensure_future(call(store, number))
        for _ in range(8):
            await asyncio.sleep(0)
        time.sleep(2 * HURRIED.command)  # noqa: ASYNC251 -- what keeps the event loop busy
        assert await task


async def test_appends_that_wait_for_room_all_come_in(open_store: OpenStore, private_server: PrivateServer) -> None:
    store = open_store(private_server.target, Timeouts(connect=10.0, command=10.0))
    payload = b"x" * 1_000_000
    outcomes = await asyncio.gather(
        *(store.append("stream", [payload], mark=mark("stream", 1, producer=f"{number}")) for number in range(40)),
        return_exceptions=True,
    )

    assert [outcome for outcome in outcomes if isinstance(outcome, StreamsError)] == []
    assert await store.length("stream") == 40
