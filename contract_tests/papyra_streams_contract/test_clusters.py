"""What a cluster asks of a driver besides what every server does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from papyra_streams.endpoint import ClusterNodes, Endpoint
from papyra_streams.errors import AuthenticationFailed, GroupMissing, Unavailable, UnsupportedOperation
from papyra_streams.ports import Member, StreamStore, Timeouts

from .arranging import eventually, fill, given, join, mark, member
from .fixtures import IMPATIENT, OpenStore
from .matrix import Target
from .processes import ServerProcess
from .secrecy import SECRET
from .servers import LOCALHOST, Server, free_port
from .topologies.base import TopologySource
from .topologies.clusters import Cluster, ReplicaNode
from .topologies.moving import SlotMove
from .wire import Wire

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.topologies("cluster", reason="these are about clusters"),
]

MakeCluster = Callable[..., Cluster]

_ELSEWHERE = "127.0.0.2"


@pytest.fixture
def make_cluster(target: Target) -> Iterator[MakeCluster]:
    """Return a function that starts clusters which the test may harm."""
    source = target.source
    assert isinstance(source, TopologySource)
    started: list[Cluster] = []

    def make(primaries: int = 1, **settings: str) -> Cluster:
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        started.append(Cluster(source.program, named, primaries=primaries))
        started[-1].start()
        return started[-1]

    yield make
    for cluster in started:
        cluster.stop()


async def on_each_node(wire: Wire, namespace: str) -> list[Member]:
    """Return members of a group on a stream of each of three nodes, in the order of the nodes."""
    found: dict[int, Member] = {}
    for number in range(100):
        stream = f"{namespace}:{number}:events"
        slot = await wire.number("CLUSTER", "KEYSLOT", stream)
        found.setdefault(slot * 3 // 16384, member(stream))
    assert len(found) == 3
    return [found[node] for node in sorted(found)]


@pytest_asyncio.fixture(loop_scope="function")
async def apart(wire: Wire, namespace: str) -> list[Member]:
    """Return members of a group on streams in different slots of different nodes."""
    return await on_each_node(wire, namespace)


@pytest_asyncio.fixture(loop_scope="function")
async def joined(store: StreamStore, wire: Wire, apart: list[Member]) -> AsyncIterator[list[Member]]:
    """Return the members, whose groups are there and begin with what is new."""
    for each in apart:
        await fill(wire, each.stream, 1)
        await join(store, each, start="$")
    yield apart


async def test_streams_of_different_nodes_are_read_together(
    store: StreamStore, wire: Wire, joined: list[Member]
) -> None:
    for each in joined:
        await wire("XADD", each.stream, "5-0", "data", "5")

    taken = await store.take(joined, count=10, block_ms=1000)

    assert sorted(one.stream for one in taken) == sorted(each.stream for each in joined)
    assert await store.take(joined, count=10) == []


async def test_an_entry_of_any_node_ends_the_wait_for_all(store: StreamStore, wire: Wire, joined: list[Member]) -> None:
    for each in joined:
        waiting = asyncio.create_task(store.take(joined, count=10, block_ms=1000))
        await asyncio.sleep(0.02)
        await wire("XADD", each.stream, "5-0", "data", "5")

        assert [one.stream for one in await waiting] == [each.stream]


async def test_an_end_without_entries_is_no_fault(store: StreamStore, joined: list[Member]) -> None:
    assert await store.take(joined, count=10, block_ms=20) == []


async def test_what_one_node_gives_is_not_lost_for_the_fault_of_another(
    store: StreamStore, wire: Wire, joined: list[Member]
) -> None:
    good, bad, _ = joined
    await wire("XADD", good.stream, "5-0", "data", "5")
    await wire("XGROUP", "DESTROY", bad.stream, bad.group)

    assert len(given(await store.take(joined, count=10, block_ms=1000))) == 1
    with pytest.raises(GroupMissing):
        await store.take(joined, count=10, block_ms=1000)
    # Told once, and asked anew.
    with pytest.raises(GroupMissing):
        await store.take(joined, count=10)
    await join(store, bad)
    await wire("XADD", bad.stream, "6-0", "data", "6")
    assert len(given(await store.take(joined, count=10))) == 1


async def test_a_silent_node_keeps_nobody_from_what_others_have(
    open_store: OpenStore, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(primaries=3)
    wire, store = Wire(cluster.endpoint), open_store(cluster.target, IMPATIENT)
    members = await on_each_node(wire, "silent")
    for each in members:
        await fill(wire, each.stream, 1)
        await join(store, each, start="$")
    # The last of them is the last node's.
    *others, _ = members
    for each in others:
        await wire("XADD", each.stream, "5-0", "data", "5")
    await wire.aclose()
    cluster.nodes[-1].pause()
    try:
        async with asyncio.timeout(0.9 * IMPATIENT.command):
            taken = await store.take(members, count=10, block_ms=1000)
    finally:
        cluster.nodes[-1].resume()

    assert sorted(one.stream for one in taken) == sorted(each.stream for each in others)


async def test_whoever_waits_for_silent_nodes_waits_no_longer_in_company(
    open_store: OpenStore, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster()
    store = open_store(cluster.target, IMPATIENT)
    cluster.pause()
    try:
        async with asyncio.timeout(2 * (IMPATIENT.connect + IMPATIENT.command)):
            outcomes = await asyncio.gather(*(store.ping() for _ in range(20)), return_exceptions=True)
    finally:
        cluster.resume()

    assert {type(each) for each in outcomes} == {Unavailable}


async def test_one_node_that_answers_is_enough_to_begin_with(
    open_store: OpenStore, server: Server, stream: str
) -> None:
    known = server.target
    assert isinstance(known, ClusterNodes)
    nobody = Endpoint(host=LOCALHOST, port=free_port())
    store = open_store(ClusterNodes(nodes=(nobody, known.nodes[-1])), Timeouts())

    assert (await store.append(stream, [b"1"], mark=mark(stream, 1))).count == 1


async def test_a_node_that_is_silent_keeps_nobody_waiting(open_store: OpenStore, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(primaries=2)
    first, second = cluster.nodes
    store = open_store(ClusterNodes(nodes=(first.endpoint, second.endpoint)), Timeouts())
    first.pause()
    try:
        async with asyncio.timeout(2):
            await store.clock_ms()
    finally:
        first.resume()


async def test_without_a_node_that_answers_nothing_was_run(open_store: OpenStore) -> None:
    nodes = tuple(Endpoint(host=LOCALHOST, port=free_port()) for _ in range(2))
    store = open_store(ClusterNodes(nodes=nodes), IMPATIENT)

    with pytest.raises(Unavailable) as caught:
        await store.ping()

    assert all(f":{node.port}" in str(caught.value) for node in nodes)


async def test_a_single_server_is_no_cluster(open_store: OpenStore, target: Target) -> None:
    assert isinstance(target.source, TopologySource)
    single = ServerProcess(target.source.program)
    single.start()
    try:
        store = open_store(ClusterNodes(nodes=(single.endpoint,)), IMPATIENT)
        with pytest.raises(UnsupportedOperation, match="no cluster but a single server; write redis://"):
            await store.ping()
    finally:
        single.stop()


async def test_a_node_is_no_single_server(open_store: OpenStore, server: Server, apart: list[Member]) -> None:
    store = open_store(server.endpoint, IMPATIENT)

    said = [await length_of(store, each) for each in apart]

    assert said.count(0) == 1
    assert all("MOVED" in str(each) and "write redis+cluster://" in str(each) for each in said if each != 0)


async def length_of(store: StreamStore, one: Member) -> int | Unavailable:
    """Return how many entries there are, or what the server says instead."""
    try:
        return await store.length(one.stream)
    except Unavailable as error:
        return error


async def test_a_wrong_password_is_told_as_such(open_store: OpenStore, make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.nodes[0].ask(f"CONFIG SET requirepass {SECRET}")

    with pytest.raises(AuthenticationFailed) as caught:
        await open_store(cluster.target_as(None, "wrong"), IMPATIENT).ping()
    assert "wrong" not in str(caught.value)
    await open_store(cluster.target_as(None, SECRET), IMPATIENT).ping()


async def test_where_slots_are_missing_nothing_was_run_until_they_are_back(
    open_store: OpenStore, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(primaries=3, cluster_node_timeout="500")
    store = open_store(cluster.target, IMPATIENT)
    await store.append("s", [b"1"], mark=mark("s", 1))
    victim = cluster.nodes[-1]
    victim.kill()

    async def is_down() -> bool:
        return b"cluster_state:fail" in cluster.nodes[0].ask("CLUSTER INFO")

    await eventually(is_down)
    for number in range(20):
        with pytest.raises(Unavailable):
            await store.length(f"other-{number}")
    victim.start()

    async def is_up() -> bool:
        try:
            return await store.length("s") >= 0
        except Unavailable:
            return False

    await eventually(is_up)


async def test_a_replica_that_takes_over_is_found(
    open_store: OpenStore, make_cluster: MakeCluster, target: Target
) -> None:
    assert isinstance(target.source, TopologySource)
    cluster = make_cluster()
    replica = ReplicaNode(target.source.program, cluster.nodes[0])
    store = open_store(cluster.target, IMPATIENT)
    try:
        replica.start()

        async def is_in_sync() -> bool:
            knows = b"slave " in cluster.nodes[0].ask("CLUSTER NODES")
            return knows and b"master_link_status:up" in replica.ask("INFO replication")

        async def has_taken_over() -> bool:
            return b"role:master" in replica.ask("INFO replication")

        await eventually(is_in_sync)
        await store.append("s", [b"1"], mark=mark("s", 1))
        replica.ask("CLUSTER FAILOVER TAKEOVER")
        await eventually(has_taken_over)

        assert (await store.append("s", [b"2"], mark=mark("s", 2))).count == 1
        assert await store.length("s") == 2
    finally:
        replica.stop()


async def test_nodes_that_have_no_names_where_they_should_are_found_at_their_addresses(
    open_store: OpenStore, make_cluster: MakeCluster
) -> None:
    cluster = make_cluster(primaries=2)
    first, second = cluster.nodes
    try:
        for node in cluster.nodes:
            node.ask("CONFIG SET cluster-preferred-endpoint-type hostname")
        # Who asks there does not find the other one on the same host.
        first.ask(f'CONFIG SET bind "{LOCALHOST} {_ELSEWHERE}"')
    except OSError as error:
        pytest.skip(f"the nodes cannot be without names here: {error}")
    store = open_store(ClusterNodes(nodes=(replace(first.endpoint, host=_ELSEWHERE),)), IMPATIENT)
    for stream, node in (("b", first), ("a", second)):
        assert node.ask(f"XLEN {stream}") == b":0"
        assert await store.length(stream) == 0
    move = SlotMove(cluster, int(first.ask("CLUSTER KEYSLOT b")[1:]), first, second)

    move.begin()
    waiting = asyncio.create_task(store.length("b"))
    await asyncio.sleep(0.2)
    move.end()

    assert await waiting == 0


async def test_a_url_names_several_nodes(server: Server) -> None:
    assert urlsplit(server.url).scheme == "redis+cluster"
    assert isinstance(server.target, ClusterNodes)
    assert len(server.target.nodes) == 3
