"""What Sentinels ask of a driver: who the primary is, after every change and in spite of those that do not know."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from papyra_streams.endpoint import ClusterNodes, Endpoint, SentinelService
from papyra_streams.errors import (
    AuthenticationFailed,
    ConfigurationError,
    Indeterminate,
    StreamsError,
    Unavailable,
    UnsupportedOperation,
)
from papyra_streams.ports import StreamStore, Timeouts

from .arranging import eventually, mark
from .fixtures import IMPATIENT, OpenStore
from .matrix import Target
from .processes import ServerProcess
from .secrecy import SECRET
from .servers import LOCALHOST, Server, free_port
from .topologies.base import TopologySource
from .topologies.sentinels import SERVICE, SentinelProcess, WatchedServer
from .wire import ask_once

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.topologies("sentinel", reason="these are about Sentinels"),
]

STREAM = "orders:events"
# A failover of the servers below takes some two seconds.
_FAILOVER_SECONDS = 15
_AS_SENTINEL = re.escape("If that is a Sentinel, write redis+sentinel://host:port/service in `url`.")

Watch = Callable[..., WatchedServer]


@pytest.fixture
def watch(target: Target) -> Iterator[Watch]:
    """Return a function that starts servers and Sentinels which the test may harm."""
    source = target.source
    assert isinstance(source, TopologySource)
    started: list[WatchedServer] = []

    def make(*, replicas: int = 0, sentinels: int = 1, down_after_ms: int = 500) -> WatchedServer:
        started.append(
            WatchedServer(source.program, replicas=replicas, sentinels=sentinels, down_after_ms=down_after_ms)
        )
        started[-1].start()
        return started[-1]

    yield make
    for watched in started:
        watched.stop()


def service(watched: Server) -> SentinelService:
    """Return what a driver is given."""
    found = watched.target
    assert isinstance(found, SentinelService)
    return found


async def append(store: StreamStore, number: int) -> None:
    """Append an entry, as often as it takes."""
    try:
        await store.append(STREAM, [b"%d" % number], mark=mark(STREAM, number))
    except (Unavailable, Indeterminate):
        await asyncio.sleep(0.05)
        await append(store, number)


def length_at(server: ServerProcess) -> bytes:
    """Return how many entries a server has, as it says so itself."""
    return ask_once(server.endpoint, f"XLEN {STREAM}")


def is_primary(server: ServerProcess) -> bool:
    """Tell whether a server calls itself a primary."""
    return b"role:master" in ask_once(server.endpoint, "INFO replication")


async def wait_for_promotion(replica: ServerProcess) -> None:
    """Wait until a replica is none any more."""

    async def is_promoted() -> bool:
        return is_primary(replica)

    await eventually(is_promoted, within=_FAILOVER_SECONDS)


async def test_a_primary_that_is_gone_is_replaced_by_its_replica(open_store: OpenStore, watch: Watch) -> None:
    watched = watch(replicas=1, sentinels=3)
    store = open_store(watched.target, IMPATIENT)
    await append(store, 1)
    watched.kill()

    async with asyncio.timeout(_FAILOVER_SECONDS):
        await append(store, 2)

    assert length_at(watched.replicas[0]) == b":2"


async def test_a_former_primary_that_comes_back_is_not_written_to(open_store: OpenStore, watch: Watch) -> None:
    # For two seconds after the last command, nobody asks again; few Sentinels are as quick as that.
    watched = watch(replicas=1, sentinels=3, down_after_ms=2000)
    store = open_store(watched.target, IMPATIENT)
    await append(store, 1)
    watched.pause()
    (replica,) = watched.replicas

    async def is_known() -> bool:
        word = f"address={replica.endpoint.address},".encode()
        return any(word in ask_once(sentinel.endpoint, "INFO sentinel") for sentinel in watched.sentinels)

    await eventually(is_known, within=_FAILOVER_SECONDS)
    watched.resume()

    # It still takes itself for the primary, and nobody has noticed anything on this connection.
    await append(store, 2)

    assert is_primary(watched.primary)
    assert length_at(replica) == b":2"


async def test_a_sentinel_that_was_cut_off_does_not_prevail(open_store: OpenStore, watch: Watch) -> None:
    watched = watch(replicas=1, sentinels=3)
    alone = SentinelProcess(watched.sentinels[0]._program, watched.primary, quorum=9, down_after_ms=3_600_000)
    alone.start()
    try:
        # It is not to hear of the others: Sentinels tell of failovers through the servers that they watch.
        alone.pause()
        watched.kill()
        await wait_for_promotion(watched.replicas[0])
        alone.resume()
        known = service(watched)
        store = open_store(replace(known, sentinels=(alone.endpoint, *known.sentinels)), Timeouts())

        async with asyncio.timeout(_FAILOVER_SECONDS):
            await append(store, 1)

        assert length_at(watched.replicas[0]) == b":1"
    finally:
        alone.stop()


async def test_without_sentinels_the_primary_stays_what_it_is(open_store: OpenStore, watch: Watch) -> None:
    watched = watch()
    store = open_store(watched.target, Timeouts())
    await append(store, 1)
    for sentinel in watched.sentinels:
        sentinel.kill()
    # Longer than what they said is taken for fresh.
    await asyncio.sleep(2.5)

    async with asyncio.timeout(1):
        await append(store, 2)

    assert length_at(watched.primary) == b":2"


async def test_silent_sentinels_hold_up_nobody_while_there_are_commands(open_store: OpenStore, watch: Watch) -> None:
    watched = watch()
    patience = Timeouts(connect=2.5, command=2.5)
    store = open_store(watched.target, patience)
    await append(store, 1)
    for sentinel in watched.sentinels:
        sentinel.pause()
    try:
        # They are asked in vain, and then once more.
        until = time.monotonic() + 2 * (patience.command + 2)
        while (begun := time.monotonic()) < until:
            assert await store.length(STREAM) == 1
            assert time.monotonic() - begun < 0.5
            await asyncio.sleep(0.05)
    finally:
        for sentinel in watched.sentinels:
            sentinel.resume()


async def test_whoever_begins_without_sentinels_is_told_of_each(open_store: OpenStore) -> None:
    sentinels = tuple(Endpoint(host=LOCALHOST, port=free_port()) for _ in range(2))
    store = open_store(SentinelService(name=SERVICE, sentinels=sentinels, primary=Endpoint()), IMPATIENT)

    with pytest.raises(Unavailable) as caught:
        await store.ping()

    assert all(f":{sentinel.port}" in str(caught.value) for sentinel in sentinels)


async def test_a_sentinel_that_is_silent_keeps_nobody_waiting(open_store: OpenStore, watch: Watch) -> None:
    watched = watch(sentinels=2)
    store = open_store(watched.target, Timeouts())
    watched.sentinels[0].pause()
    try:
        async with asyncio.timeout(2):
            await append(store, 1)
    finally:
        watched.sentinels[0].resume()


async def test_what_calls_itself_a_replica_is_not_used(open_store: OpenStore, watch: Watch) -> None:
    watched = watch(down_after_ms=3_600_000)
    ask_once(watched.primary.endpoint, f"REPLICAOF {LOCALHOST} {free_port()}")

    with pytest.raises(Unavailable, match="calls itself a slave; a failover is under way"):
        await open_store(watched.target, IMPATIENT).ping()


async def test_a_service_that_nobody_knows_is_a_mistake(open_store: OpenStore, server: Server) -> None:
    store = open_store(replace(service(server), name="payments"), Timeouts())

    with pytest.raises(ConfigurationError, match="know no service 'payments'"):
        await store.ping()


async def test_one_sentinel_that_knows_nothing_is_no_mistake_while_others_are_away(
    open_store: OpenStore, watch: Watch
) -> None:
    watched = watch()
    ask_once(watched.sentinels[0].endpoint, f"SENTINEL REMOVE {SERVICE}")
    nobody = Endpoint(host=LOCALHOST, port=free_port())
    known = service(watched)
    store = open_store(replace(known, sentinels=(*known.sentinels, nobody)), IMPATIENT)

    with pytest.raises(Unavailable):
        await store.ping()


async def test_servers_are_no_sentinels(open_store: OpenStore, server: Server) -> None:
    store = open_store(replace(service(server), sentinels=(server.endpoint,)), Timeouts())

    with pytest.raises(ConfigurationError, match="does not lead to Sentinels"):
        await store.ping()


@pytest.mark.parametrize("database", [0, 2])
async def test_a_sentinel_is_no_server(open_store: OpenStore, server: Server, database: int) -> None:
    sentinel = replace(service(server).sentinels[0], database=database)

    with pytest.raises(UnsupportedOperation, match=_AS_SENTINEL):
        await open_store(sentinel, Timeouts()).length(STREAM)


async def test_a_sentinel_is_no_node_of_a_cluster(open_store: OpenStore, server: Server) -> None:
    store = open_store(ClusterNodes(nodes=service(server).sentinels), Timeouts())

    with pytest.raises(UnsupportedOperation, match=_AS_SENTINEL):
        await store.length(STREAM)


def refuses(server: ServerProcess, password: str) -> bool:
    """Have a server or a Sentinel let nobody in without the password; return whether it can."""
    reply = ask_once(server.endpoint, f"CONFIG SET requirepass {password}")
    return reply == b"+OK" or ask_once(server.endpoint, f"ACL SETUSER default >{password}") == b"+OK"


async def test_sentinels_have_passwords_of_their_own(open_store: OpenStore, watch: Watch) -> None:
    watched = watch()
    known = service(watched)
    sentinel = watched.sentinels[0]
    assert ask_once(sentinel.endpoint, f"ACL SETUSER watcher on >{SECRET} +@all") == b"+OK"
    assert ask_once(sentinel.endpoint, "ACL SETUSER default off") == b"+OK"

    for password in (None, "wrong"):
        there = replace(known.sentinels[0], username=password and "watcher", password=password)
        with pytest.raises(StreamsError) as caught:
            await open_store(replace(known, sentinels=(there,)), IMPATIENT).ping()
        assert isinstance(caught.value, AuthenticationFailed)
        assert "`sentinel_password`" in str(caught.value)
    url = f"{watched.url}?sentinel_username=watcher&sentinel_password={SECRET}"
    await open_store(Server(url, watched.endpoint).target, IMPATIENT).ping()


async def test_the_servers_passwords_are_asked_for_along_the_way(open_store: OpenStore, watch: Watch) -> None:
    watched = watch()
    ask_once(watched.sentinels[0].endpoint, f"SENTINEL SET {SERVICE} auth-pass {SECRET}")
    assert refuses(watched.primary, SECRET)

    with pytest.raises(AuthenticationFailed, match="in `url`"):
        await open_store(watched.target, IMPATIENT).ping()
    await open_store(watched.target_as(None, SECRET), IMPATIENT).ping()


async def test_a_read_that_waits_ends_with_the_failover(open_store: OpenStore, watch: Watch) -> None:
    watched = watch(replicas=1, sentinels=3)
    store = open_store(watched.target, IMPATIENT)
    await append(store, 1)
    await store.create_group(STREAM, "workers", start="$")
    read = partial(store.read_group, STREAM, "workers", "me", count=10, block_ms=10_000)
    waiting = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    watched.kill()
    with pytest.raises((Unavailable, Indeterminate)):
        await waiting

    async with asyncio.timeout(_FAILOVER_SECONDS):
        await append(store, 2)
    assert len(await read()) == 1
