"""Whether the server answers, and what it can do."""

import asyncio

import anyio
import pytest

from papyra_streams import drivers
from papyra_streams.ports import StreamStore, Timeouts

from . import needs
from .arranging import fill
from .fixtures import IMPATIENT, OpenStore
from .servers import PrivateServer, Server
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_ping_returns_where_the_server_answers(store: StreamStore) -> None:
    await store.ping()


async def test_capabilities_are_asked_of_the_server_once(open_store: OpenStore, private_server: PrivateServer) -> None:
    store = open_store(private_server.endpoint, IMPATIENT)
    first = await store.capabilities()
    private_server.kill()

    assert await store.capabilities() == first


async def test_asking_for_capabilities_leaves_nothing_behind(private_store: StreamStore, private_wire: Wire) -> None:
    await private_store.capabilities()

    assert await private_wire("DBSIZE") == 0


async def test_lag_is_a_capability_where_the_server_counts_it(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 1)
    await wire("XGROUP", "CREATE", stream, "workers", "0")
    (group,) = await wire.rows("XINFO", "GROUPS", stream)

    assert isinstance(group, list)
    assert (await store.capabilities()).lag is (b"lag" in group)


async def test_trio_is_a_capability_of_a_driver_that_runs_on_it(store: StreamStore) -> None:
    assert "asyncio" in store.event_loops
    assert (await store.capabilities()).trio is ("trio" in store.event_loops)


@needs("trio")
async def test_a_driver_with_the_capability_serves_a_trio_program(
    store: StreamStore, driver_name: str, server: Server, stream: str, wire: Wire
) -> None:
    await fill(wire, stream, 3)

    async def program() -> int:
        opened = drivers.load(driver_name)(server.endpoint, Timeouts())
        found = await opened.newest(stream, count=10)
        await opened.aclose()
        return len(found)

    assert await asyncio.to_thread(lambda: anyio.run(program, backend="trio")) == await store.length(stream)
