"""Appending with a confirmation: that a batch is on disk, or on replicas, before the call returns."""

import asyncio

import pytest
import pytest_asyncio

from papyra_streams.errors import Indeterminate, WrongType
from papyra_streams.ports import Appended, Confirmation, StreamStore, Timeouts

from . import needs
from .arranging import eventually, mark, payloads
from .fixtures import IMPATIENT, MakePrivateServer, OpenStore
from .proxy import Proxy, before_one_server
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

SYNCED = Confirmation(fsync=True, timeout_ms=5000)
ON_ONE_REPLICA = Confirmation(replicas=1, timeout_ms=5000)
SOON_ON_ONE_REPLICA = Confirmation(replicas=1, timeout_ms=200)
LATE_ON_ONE_REPLICA = Confirmation(replicas=1, timeout_ms=30_000)


@pytest_asyncio.fixture(loop_scope="function")
async def replica(
    make_private_server: MakePrivateServer, private_server: PrivateServer, private_wire: Wire
) -> PrivateServer:
    """Return a replica of the private server, which has caught up."""
    made = make_private_server(replica_of=private_server)

    async def is_online() -> bool:
        return b"state=online" in await private_wire.text("INFO", "replication")

    await eventually(is_online)
    return made


async def until_clients_wait(wire: Wire, count: int) -> None:
    """Wait until the server holds so many replies back."""

    async def wait() -> bool:
        return b"blocked_clients:%d\r" % count in await wire.text("INFO", "clients")

    await eventually(wait)


@needs("fsync")
async def test_a_batch_is_confirmed_once_it_is_on_disk(synced_store: StreamStore) -> None:
    assert await synced_store.append("stream", [b"a"] * 3, mark=mark("stream", 1), confirmation=SYNCED) == Appended(3)


@needs("fsync")
async def test_records_that_are_known_are_confirmed_as_well(synced_store: StreamStore) -> None:
    await synced_store.append("stream", [b"a"] * 3, mark=mark("stream", 1))

    assert await synced_store.append("stream", [b"a"] * 3, mark=mark("stream", 1), confirmation=SYNCED) == Appended(0)


@needs("fsync")
async def test_what_was_confirmed_outlives_the_servers_death(
    synced_store: StreamStore, synced_server: PrivateServer, open_store: OpenStore
) -> None:
    await synced_store.append("stream", [b"a", b"b"], mark=mark("stream", 1), confirmation=SYNCED)
    synced_server.kill()
    synced_server.start()

    reopened = open_store(synced_server.target, Timeouts())
    assert payloads(await reopened.newest("stream", count=9)) == [b"b", b"a"]
    assert (await reopened.append("stream", [b"a", b"b"], mark=mark("stream", 1))).count == 0


@needs("fsync")
async def test_a_script_that_the_server_lacks_is_sent_with_a_confirmation_too(
    synced_store: StreamStore, synced_wire: Wire
) -> None:
    for first in (1, 2):
        await synced_wire("SCRIPT", "FLUSH")

        confirmed = await synced_store.append("stream", [b"a"], mark=mark("stream", first), confirmation=SYNCED)
        assert confirmed == Appended(1)


async def test_a_server_without_an_append_only_file_does_not_confirm(private_store: StreamStore) -> None:
    outcome = await private_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=SYNCED)

    assert outcome == Appended(1, confirmed=False)
    assert await private_store.length("stream") == 1


async def test_a_confirmation_that_asks_for_nothing_is_given(private_store: StreamStore) -> None:
    nothing = Confirmation(timeout_ms=1000)

    assert await private_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=nothing) == Appended(1)


async def test_an_append_that_fails_raises_whatever_was_to_be_confirmed(
    private_store: StreamStore, private_wire: Wire
) -> None:
    await private_wire("SET", "stream", "text")

    for confirmation in (SYNCED, SOON_ON_ONE_REPLICA):
        with pytest.raises(WrongType):
            await private_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=confirmation)


@pytest.mark.usefixtures("replica")
async def test_a_batch_is_confirmed_once_a_replica_has_it(private_store: StreamStore) -> None:
    for first, count in ((1, 1), (2, 1), (2, 0)):
        outcome = await private_store.append("stream", [b"a"], mark=mark("stream", first), confirmation=ON_ONE_REPLICA)
        assert outcome == Appended(count)


@pytest.mark.usefixtures("replica")
async def test_fewer_replicas_than_asked_for_do_not_confirm(private_store: StreamStore) -> None:
    on_two = Confirmation(replicas=2, timeout_ms=200)

    assert await private_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=on_two) == Appended(
        1, confirmed=False
    )


async def test_a_replica_that_has_stopped_does_not_confirm(
    open_store: OpenStore, private_server: PrivateServer, replica: PrivateServer
) -> None:
    store = open_store(private_server.target, Timeouts())
    replica.pause()

    async with asyncio.timeout(2.0):
        outcome = await store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=SOON_ON_ONE_REPLICA)
    assert outcome == Appended(1, confirmed=False)


async def test_a_confirmation_may_take_longer_than_a_command(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire, replica: PrivateServer
) -> None:
    store = open_store(private_server.target, Timeouts(connect=2.0, command=0.3))
    replica.pause()
    appending = asyncio.create_task(
        store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=LATE_ON_ONE_REPLICA)
    )
    await until_clients_wait(private_wire, 1)
    await asyncio.sleep(0.6)
    replica.resume()

    assert await appending == Appended(1)


async def test_nobody_else_waits_for_confirmations_however_many(
    private_store: StreamStore, private_wire: Wire, replica: PrivateServer
) -> None:
    replica.pause()
    marks = [mark("stream", 1, producer=f"{number}") for number in range(40)]
    appending = [
        asyncio.create_task(private_store.append("stream", [b"a"], mark=each, confirmation=LATE_ON_ONE_REPLICA))
        for each in marks
    ]
    await until_clients_wait(private_wire, 40)

    assert await private_store.length("stream") == 40
    assert (await private_store.append("stream", [b"b"], mark=mark("stream", 1))).count == 1
    assert [each.done() for each in appending] == [False] * 40
    replica.resume()
    assert await asyncio.gather(*appending) == [Appended(1)] * 40


async def test_a_script_that_the_server_lacks_is_not_waited_for_before_it_ran(
    private_store: StreamStore, private_wire: Wire
) -> None:
    await private_wire("SCRIPT", "FLUSH")
    appending = asyncio.create_task(
        private_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=LATE_ON_ONE_REPLICA)
    )
    await until_clients_wait(private_wire, 1)

    assert await private_wire("XLEN", "stream") == 1
    appending.cancel()
    await asyncio.wait([appending])


@before_one_server
async def test_replies_that_trickle_in_have_one_time_limit_together(
    open_store: OpenStore, private_server: PrivateServer
) -> None:
    both = Confirmation(fsync=True, replicas=1, timeout_ms=10)
    async with Proxy(private_server) as proxy:
        store = open_store(proxy.target, IMPATIENT)
        await store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=both)
        proxy.delay = 0.7 * IMPATIENT.command
        async with asyncio.timeout(1.3 * IMPATIENT.command):
            with pytest.raises(Indeterminate):
                await store.append("stream", [b"b"], mark=mark("stream", 2), confirmation=both)


async def test_a_batch_whose_confirmation_is_lost_with_the_server_may_be_lost_as_well(
    private_store: StreamStore, private_server: PrivateServer, private_wire: Wire, replica: PrivateServer
) -> None:
    replica.pause()
    appending = asyncio.create_task(
        private_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=LATE_ON_ONE_REPLICA)
    )
    await until_clients_wait(private_wire, 1)
    private_server.kill()

    with pytest.raises(Indeterminate, match="Nobody knows whether the records are confirmed"):
        await appending


async def test_a_caller_that_is_cancelled_while_it_waits_disturbs_nobody(
    private_store: StreamStore, private_wire: Wire, replica: PrivateServer
) -> None:
    replica.pause()
    appending = asyncio.create_task(
        private_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=ON_ONE_REPLICA)
    )
    await until_clients_wait(private_wire, 1)
    appending.cancel()
    await asyncio.wait([appending])
    replica.resume()

    assert appending.cancelled()
    for first in range(1, 6):
        outcome = await private_store.append("stream", [b"a"], mark=mark("stream", first), confirmation=ON_ONE_REPLICA)
        assert outcome == Appended(0 if first == 1 else 1)


@needs("fsync")
async def test_disk_and_replicas_may_be_asked_for_together(
    synced_store: StreamStore, synced_server: PrivateServer, synced_wire: Wire, make_private_server: MakePrivateServer
) -> None:
    soon = Confirmation(fsync=True, replicas=1, timeout_ms=200)
    both = Confirmation(fsync=True, replicas=1, timeout_ms=5000)
    alone = await synced_store.append("stream", [b"a"], mark=mark("stream", 1), confirmation=soon)
    make_private_server(replica_of=synced_server)

    async def is_online() -> bool:
        return b"state=online" in await synced_wire.text("INFO", "replication")

    await eventually(is_online)
    assert alone == Appended(1, confirmed=False)
    assert await synced_store.append("stream", [b"b"], mark=mark("stream", 2), confirmation=both) == Appended(1)
