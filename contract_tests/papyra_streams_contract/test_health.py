"""Whether the server answers, and what it can do."""

import asyncio
from dataclasses import replace

import anyio
import pytest

from papyra_streams import drivers
from papyra_streams.ports import Appended, Confirmation, ProducerMark, StreamStore, Timeouts

from . import needs
from .arranging import fill
from .fixtures import IMPATIENT, OpenStore
from .rights import WRITER
from .secrecy import SECRET
from .servers import PrivateServer, Server
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_ping_returns_where_the_server_answers(store: StreamStore) -> None:
    await store.ping()


async def test_capabilities_are_asked_of_the_server_once(open_store: OpenStore, private_server: PrivateServer) -> None:
    store = open_store(private_server.target, IMPATIENT)
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


async def test_fsync_is_a_capability_where_the_server_tells_of_it(synced_store: StreamStore, synced_wire: Wire) -> None:
    (known,) = await synced_wire.rows("COMMAND", "INFO", "WAITAOF")

    assert (await synced_store.capabilities()).fsync is (known is not None)


async def test_fsync_is_no_capability_of_a_server_without_an_append_only_file(private_store: StreamStore) -> None:
    assert (await private_store.capabilities()).fsync is False


@needs("fsync")
async def test_the_documented_rights_suffice_for_a_batch_that_is_confirmed_by_the_disk(
    synced_store: StreamStore, synced_server: PrivateServer, synced_wire: Wire, open_store: OpenStore
) -> None:
    assert (await synced_store.capabilities()).fsync
    await synced_wire("ACL", "SETUSER", "orders", *WRITER.line(), "+waitaof", *synced_server.rights)
    store = open_store(synced_server.target_as("orders", SECRET), IMPATIENT)
    made = ProducerMark(key="papyra:orders:producer:{papyra:orders:events}:one", first=1, lifetime=60)
    confirmation = Confirmation(fsync=True, timeout_ms=1000)

    assert (await store.capabilities()).fsync
    assert await store.append("papyra:orders:events", [b"a"], mark=made, confirmation=confirmation) == Appended(1)


@needs("fsync")
async def test_a_right_that_is_missing_takes_one_capability_away(
    synced_store: StreamStore, synced_server: PrivateServer, synced_wire: Wire, open_store: OpenStore
) -> None:
    whole = await synced_store.capabilities()
    for command, remaining in (("waitaof", replace(whole, fsync=False)), ("xgroup", replace(whole, lag=False))):
        await synced_wire("ACL", "SETUSER", command, "on", f">{SECRET}", "~*", "+@all", f"-{command}")
        store = open_store(synced_server.target_as(command, SECRET), IMPATIENT)
        assert await store.capabilities() == remaining


@needs("fsync")
async def test_a_full_server_can_still_be_asked_for_its_disk(synced_store: StreamStore, synced_wire: Wire) -> None:
    await synced_wire("CONFIG", "SET", "maxmemory", "1")

    assert (await synced_store.capabilities()).fsync


async def test_trio_is_a_capability_of_a_driver_that_runs_on_it(store: StreamStore) -> None:
    assert "asyncio" in store.event_loops
    assert (await store.capabilities()).trio is ("trio" in store.event_loops)


@needs("trio")
async def test_a_driver_with_the_capability_serves_a_trio_program(
    store: StreamStore, driver_name: str, server: Server, stream: str, wire: Wire
) -> None:
    await fill(wire, stream, 3)

    async def program() -> int:
        opened = drivers.load(driver_name)(server.target, Timeouts())
        found = await opened.newest(stream, count=10)
        await opened.aclose()
        return len(found)

    assert await asyncio.to_thread(lambda: anyio.run(program, backend="trio")) == await store.length(stream)
