"""A server that is not there, goes away, falls silent, and comes back."""

import asyncio
import itertools
import time

import pytest

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Indeterminate, StreamsError, Unavailable
from papyra_streams.ports import Appended, StreamStore, Timeouts

from .arranging import eventually, mark
from .fixtures import IMPATIENT, OpenStore
from .servers import LOCALHOST, PrivateServer, free_port
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def works_again(store: StreamStore) -> bool:
    """Tell whether the server is reached; nothing but an outage may be in the way."""
    try:
        await store.ping()
    except (Unavailable, Indeterminate):
        return False
    return True


@pytest.mark.parametrize("block_ms", [None, 200])
async def test_a_server_that_is_not_there_is_unavailable(open_store: OpenStore, block_ms: int | None) -> None:
    store = open_store(Endpoint(host=LOCALHOST, port=free_port()), IMPATIENT)

    with pytest.raises(Unavailable):
        await store.read_group("stream", "workers", "me", count=1, block_ms=block_ms)


async def test_a_socket_that_is_not_there_is_unavailable(open_store: OpenStore) -> None:
    store = open_store(Endpoint(path="/nowhere/to.sock"), IMPATIENT)

    with pytest.raises(Unavailable, match="/nowhere/to.sock"):
        await store.ping()


async def test_a_name_that_means_no_host_is_unavailable(open_store: OpenStore) -> None:
    store = open_store(Endpoint(host="no-such-host.invalid"), IMPATIENT)

    with pytest.raises(Unavailable):
        await store.ping()


async def test_a_server_that_appears_later_is_found(open_store: OpenStore, private_server: PrivateServer) -> None:
    private_server.kill()
    store = open_store(private_server.target, IMPATIENT)
    with pytest.raises(Unavailable):
        await store.ping()
    private_server.start()

    await eventually(lambda: works_again(store))


async def test_a_server_that_is_killed_is_missed_and_found_again(
    private_store: StreamStore, private_server: PrivateServer
) -> None:
    await private_store.append("stream", [b"a"], mark=mark("stream", 1))
    private_server.kill()
    with pytest.raises((Unavailable, Indeterminate)):
        await private_store.append("stream", [b"b"], mark=mark("stream", 2))
    private_server.start()
    await eventually(lambda: works_again(private_store))

    # The scripts it had are gone with it.
    assert (await private_store.append("stream", [b"c"], mark=mark("stream", 3))).count == 1


async def test_a_held_read_ends_with_its_server(private_store: StreamStore, private_server: PrivateServer) -> None:
    await private_store.create_group("stream", "workers", start="0")
    reading = asyncio.create_task(private_store.read_group("stream", "workers", "me", count=1, block_ms=30_000))
    await asyncio.sleep(0.1)
    private_server.kill()

    async with asyncio.timeout(5):
        with pytest.raises((Unavailable, Indeterminate)):
            await reading


async def test_calls_in_flight_end_with_their_server(private_store: StreamStore, private_server: PrivateServer) -> None:
    await private_store.ping()
    batch = [b"x" * 1000] * 1000
    calls = [
        asyncio.create_task(private_store.append("stream", batch, mark=mark("stream", 1, producer=f"{number}")))
        for number in range(20)
    ]
    await asyncio.sleep(0)
    private_server.kill()

    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, Appended | Unavailable | Indeterminate) for outcome in outcomes)


async def test_a_server_that_falls_silent_leaves_the_outcome_open(
    private_store: StreamStore, private_server: PrivateServer
) -> None:
    await private_store.ping()
    private_server.pause()
    began = time.monotonic()

    with pytest.raises(Indeterminate):
        await private_store.length("stream")
    assert time.monotonic() - began < IMPATIENT.command + 1.0


async def test_a_server_that_runs_on_after_a_silence_works_again(
    private_store: StreamStore, private_server: PrivateServer
) -> None:
    await private_store.ping()
    private_server.pause()
    with pytest.raises(Indeterminate):
        await private_store.append("stream", [b"a"], mark=mark("stream", 1))
    private_server.resume()
    await eventually(lambda: works_again(private_store))
    await private_store.append("stream", [b"a"], mark=mark("stream", 1))

    assert await private_store.length("stream") == 1


async def test_a_server_that_takes_connections_and_says_nothing_keeps_nobody_for_long(
    private_store: StreamStore, private_server: PrivateServer
) -> None:
    private_server.pause()
    began = time.monotonic()

    with pytest.raises((Unavailable, Indeterminate)):
        await private_store.ping()
    assert time.monotonic() - began < IMPATIENT.connect + IMPATIENT.command + 1.0


async def test_a_held_read_notices_a_server_that_falls_silent(
    private_store: StreamStore, private_server: PrivateServer
) -> None:
    await private_store.create_group("stream", "workers", start="0")
    reading = asyncio.create_task(private_store.read_group("stream", "workers", "me", count=1, block_ms=600_000))
    await asyncio.sleep(0.1)
    private_server.pause()

    async with asyncio.timeout(10):
        with pytest.raises((Unavailable, Indeterminate)):
            await reading


async def test_cut_connections_are_made_anew(private_store: StreamStore, private_wire: Wire) -> None:
    await asyncio.gather(*(private_store.ping() for _ in range(20)))
    await private_wire("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    await eventually(lambda: works_again(private_store))
    await asyncio.gather(*(private_store.ping() for _ in range(20)))


async def test_a_held_read_whose_connection_is_cut_ends_or_goes_on(
    private_store: StreamStore, private_wire: Wire
) -> None:
    await private_store.create_group("stream", "workers", start="0")
    reading = asyncio.create_task(private_store.read_group("stream", "workers", "me", count=1, block_ms=600))
    await asyncio.sleep(0.1)
    await private_wire("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    async with asyncio.timeout(5):
        (outcome,) = await asyncio.gather(reading, return_exceptions=True)

    assert outcome == [] or isinstance(outcome, Unavailable | Indeterminate)
    await eventually(lambda: works_again(private_store))


async def test_an_outage_uses_no_connection_up(private_store: StreamStore, private_server: PrivateServer) -> None:
    await private_store.ping()
    private_server.kill()
    for _ in range(3):
        outcomes = await asyncio.gather(*(private_store.ping() for _ in range(100)), return_exceptions=True)
        assert all(isinstance(outcome, Unavailable | Indeterminate) for outcome in outcomes)
    private_server.start()

    await eventually(lambda: works_again(private_store))
    await asyncio.gather(*(private_store.ping() for _ in range(100)))


async def test_only_errors_of_this_package_leave_a_store_in_an_outage(
    open_store: OpenStore, private_server: PrivateServer
) -> None:
    store = open_store(private_server.target, Timeouts(connect=0.2, command=0.2))

    async def work(number: int) -> None:
        for first in itertools.count(1):
            try:
                await store.append(f"stream-{number}", [b"x"], mark=mark(f"stream-{number}", first))
                await store.newest(f"stream-{number}", count=5)
            except StreamsError:
                await asyncio.sleep(0.01)

    workers = [asyncio.create_task(work(number)) for number in range(10)]
    for _ in range(5):
        await asyncio.sleep(0.05)
        private_server.kill()
        await asyncio.sleep(0.05)
        private_server.start()
    failed = [worker for worker in workers if worker.done()]
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)
    assert [worker.exception() for worker in failed] == []
