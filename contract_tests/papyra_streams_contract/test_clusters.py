"""What a cluster asks of a driver besides what every server does."""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from papyra_streams.endpoint import ClusterNodes, Endpoint
from papyra_streams.errors import AuthenticationFailed, Rejected, Unavailable, UnsupportedOperation
from papyra_streams.ports import Member, StreamStore, Timeouts

from .arranging import eventually, fill, join, mark, member
from .clustered import MakeCluster, on_each_node
from .fixtures import IMPATIENT, OpenStore
from .matrix import Target
from .processes import ServerProcess
from .secrecy import SECRET
from .servers import LOCALHOST, Server, free_port
from .topologies.base import TopologySource
from .topologies.clusters import ReplicaNode
from .topologies.moving import SlotMove
from .wire import Wire

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.topologies("cluster", reason="these are about clusters"),
]

_ELSEWHERE = "127.0.0.2"


@pytest_asyncio.fixture(loop_scope="function")
async def apart(wire: Wire, namespace: str) -> list[Member]:
    """Return members of a group on streams in different slots of different nodes."""
    return await on_each_node(wire, namespace)


async def test_streams_of_one_place_are_read_by_one_command(
    store: StreamStore, wire: Wire, namespace: str, apart: list[Member]
) -> None:
    together = [member(f"{{{namespace}}}:{number}:events") for number in range(3)]
    for each in (*together, *apart):
        await fill(wire, each.stream, 1)
        await join(store, each)

    assert len({store.place(each.stream) for each in together}) == 1
    assert {one.stream for one in await store.take(together, count=1)} == {each.stream for each in together}
    assert len({store.place(each.stream) for each in apart}) == 3
    with pytest.raises(Rejected, match="CROSSSLOT"):
        await store.take(apart, count=1)


async def test_what_a_server_can_is_asked_near_a_stream(open_store: OpenStore, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(primaries=3)
    wire, store = Wire(cluster.endpoint), open_store(cluster.target, IMPATIENT)
    near = [each.stream for each in await on_each_node(wire, "near")]
    whole = await store.capabilities()
    for node, stream in zip(cluster.nodes, near, strict=True):
        others = [each for each in cluster.nodes if each is not node]
        asking = open_store(cluster.target, IMPATIENT)
        await asking.length(stream)
        for each in others:
            each.pause()
        try:
            assert await asking.capabilities(near=stream) == whole
        finally:
            for each in others:
                each.resume()
    await wire.aclose()


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
