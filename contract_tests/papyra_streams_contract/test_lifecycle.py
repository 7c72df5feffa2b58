"""From a store's making to its end."""

import asyncio
import gc
import random
import time
import warnings

import pytest

from papyra_streams import drivers
from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Closed, StreamsError
from papyra_streams.ports import StreamStore, Timeouts

from .arranging import eventually, mark, others
from .fixtures import IMPATIENT, OpenStore
from .secrecy import SECRET
from .servers import LOCALHOST, PrivateServer, target_of
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

UNROUTABLE = Endpoint(host="192.0.2.1", password=SECRET)


async def test_making_a_store_connects_nowhere(open_store: OpenStore) -> None:
    connections: list[object] = []
    listener = await asyncio.start_server(lambda *streams: connections.append(streams), LOCALHOST, 0)
    async with listener:
        store = open_store(Endpoint(host=LOCALHOST, port=listener.sockets[0].getsockname()[1]), Timeouts())
        await asyncio.sleep(0.1)
        await store.aclose()

    assert connections == []


async def test_a_store_is_made_at_once_wherever_its_server_is(open_store: OpenStore) -> None:
    began = time.monotonic()
    open_store(UNROUTABLE, Timeouts())

    assert time.monotonic() - began < 0.5


async def test_a_store_can_be_made_where_no_event_loop_runs(driver_name: str, private_server: PrivateServer) -> None:
    factory = drivers.load(driver_name)
    store = await asyncio.to_thread(factory, private_server.target, Timeouts())

    await store.ping()
    await store.aclose()


async def test_many_first_calls_at_once_all_succeed(private_store: StreamStore) -> None:
    assert await asyncio.gather(*(private_store.length("stream") for _ in range(50))) == [0] * 50


async def test_a_cancelled_first_call_does_not_disturb_the_next(private_store: StreamStore) -> None:
    for _ in range(20):
        first = asyncio.create_task(private_store.ping())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])

    await private_store.ping()


async def test_a_cancelled_call_does_not_disturb_others(private_store: StreamStore) -> None:
    await private_store.ping()
    calls = [asyncio.create_task(private_store.length("stream")) for _ in range(100)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert outcomes[1::2] == [0] * 50


async def test_hundreds_of_calls_at_once_all_succeed(open_store: OpenStore, private_server: PrivateServer) -> None:
    private_store = open_store(private_server.target, Timeouts())
    done = await asyncio.gather(
        *(private_store.append("stream", [b"x"], mark=mark("stream", 1, producer=f"{number}")) for number in range(500))
    )

    assert sum(each.count for each in done) == await private_store.length("stream") == 500


async def test_a_store_that_was_never_used_can_be_closed(open_store: OpenStore) -> None:
    await open_store(UNROUTABLE, Timeouts()).aclose()


async def test_closing_while_it_connects_leaves_no_socket_behind(
    open_store: OpenStore, private_server: PrivateServer
) -> None:
    moments = random.Random(1)
    named = target_of(private_server.url.replace(LOCALHOST, "localhost"))
    gc.collect()
    with warnings.catch_warnings(record=True, category=ResourceWarning) as left:
        warnings.simplefilter("always")
        for _ in range(100):
            store = open_store(named, IMPATIENT)
            opening = asyncio.create_task(store.ping())
            for _ in range(moments.randrange(14)):
                await asyncio.sleep(0)
            await asyncio.sleep(moments.choice([0, moments.random() * 0.002]))
            opening.cancel()
            await store.aclose()
            await asyncio.wait([opening])
        gc.collect()

    assert [str(warning.message) for warning in left] == []


async def test_a_store_may_be_closed_more_than_once(private_store: StreamStore) -> None:
    await private_store.ping()
    await private_store.aclose()
    await private_store.aclose()


async def test_a_store_may_be_closed_twice_at_once(private_store: StreamStore) -> None:
    await private_store.ping()

    await asyncio.gather(private_store.aclose(), private_store.aclose())


async def test_a_store_may_be_closed_by_another_task(private_store: StreamStore) -> None:
    await asyncio.create_task(private_store.ping())

    await asyncio.create_task(private_store.aclose())


@pytest.mark.parametrize("used", [True, False])
async def test_a_closed_store_refuses_every_call(private_store: StreamStore, *, used: bool) -> None:
    if used:
        await private_store.ping()
    await private_store.aclose()

    for call in (
        private_store.ping(),
        private_store.length("stream"),
        private_store.append("stream", [b"a"], mark=mark("stream", 1)),
        private_store.read_group("stream", "workers", "me", count=1),
        private_store.read_group("stream", "workers", "me", count=1, block_ms=100),
    ):
        with pytest.raises(Closed):
            await call


async def test_closing_ends_a_held_read(private_store: StreamStore) -> None:
    await private_store.create_group("stream", "workers", start="0")
    reading = asyncio.create_task(private_store.read_group("stream", "workers", "me", count=1, block_ms=30_000))
    await asyncio.sleep(0.1)

    async with asyncio.timeout(2):
        await private_store.aclose()
        with pytest.raises(StreamsError):
            await reading


async def test_closing_takes_not_long_where_the_server_is_silent(
    private_store: StreamStore, private_server: PrivateServer
) -> None:
    await private_store.ping()
    private_server.pause()

    async with asyncio.timeout(2):
        await private_store.aclose()


async def test_closing_leaves_no_connection(private_store: StreamStore, private_wire: Wire) -> None:
    await private_store.create_group("stream", "workers", start="0")
    await asyncio.gather(*(private_store.ping() for _ in range(20)))
    await private_store.read_group("stream", "workers", "me", count=1, block_ms=10)
    await private_store.aclose()

    async def alone() -> bool:
        return await others(private_wire) == 0

    await eventually(alone, within=2)


async def test_closing_leaves_no_task(open_store: OpenStore, private_server: PrivateServer) -> None:
    before = asyncio.all_tasks()
    store = open_store(private_server.target, IMPATIENT)
    await store.create_group("stream", "workers", start="0")
    reading = asyncio.create_task(store.read_group("stream", "workers", "me", count=1, block_ms=30_000))
    await asyncio.sleep(0.05)
    reading.cancel()
    await store.aclose()

    async def none_left() -> bool:
        return asyncio.all_tasks() <= before | {asyncio.current_task()}

    await eventually(none_left, within=2)
