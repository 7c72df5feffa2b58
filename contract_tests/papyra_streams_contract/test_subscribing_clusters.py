"""Subscriptions to streams of several nodes: one that is away keeps nobody from what the others have."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest
import pytest_asyncio

from papyra_streams import Delivery, RedisStreamsConfig, RedisStreamsPersistence, Subscription, SubscriptionConfig

from .backends import add_raw
from .clustered import MakeCluster, on_each_node
from .topologies.clusters import Cluster
from .wire import Wire

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.topologies("cluster", reason="one server has all streams"),
]

PREFIX = "apart"
ORDERINGS = ["none", "actor"]
HARMS = ["killed", "stopped"]
# A node that does not answer is given up on after so long.
COMMAND_TIMEOUT = 1.0


class Nodes:
    """A cluster of three nodes, a stream on each, and workers that read them all."""

    def __init__(
        self, cluster: Cluster, wire: Wire, streams: list[str], open_worker: Callable[[], RedisStreamsPersistence]
    ) -> None:
        """Begin with whole nodes; the last one is the one to be harmed."""
        self.cluster = cluster
        self.victim = cluster.nodes[-1]
        *self.others, self.lost = streams
        self._wire = wire
        self._open_worker = open_worker

    async def write(self, stream: str, numbers: range) -> None:
        """Record events with numbers."""
        for number in numbers:
            row = {"kind": "event", "event_type": "Ticked", "actor_address": f"a{number % 3}", "payload": number}
            await add_raw(self._wire, stream, row | {"timestamp": 1_750_000_000.0})

    async def pending(self, stream: str) -> int:
        """Return how many are pending."""
        found, *_ = await self._wire.rows("XPENDING", stream, "workers")
        assert isinstance(found, int)
        return found

    def subscription(self, **settings: Any) -> AbstractAsyncContextManager[Subscription]:
        """Open a subscription to all of the streams."""
        return self._open_worker().subscription(kind="events", cfg=self._cfg(settings))

    @asynccontextmanager
    async def working(self, handle: Callable[[Delivery], Awaitable[object]], **settings: Any) -> AsyncIterator[None]:
        """Run a worker on them."""
        stop = anyio.Event()
        worker = self._open_worker()
        working = asyncio.create_task(worker.process(kind="events", cfg=self._cfg(settings), handler=handle, stop=stop))
        yield
        stop.set()
        await working

    def _cfg(self, settings: dict[str, Any]) -> SubscriptionConfig:
        systems = tuple(stream.split(":")[1] for stream in (*self.others, self.lost))
        chosen = {"group": "workers", "systems": systems, "concurrency": 4, "claim_idle": 2.0, **settings}
        return SubscriptionConfig(**chosen)


@pytest_asyncio.fixture(loop_scope="function")
async def nodes(make_cluster: MakeCluster, driver_name: str) -> AsyncIterator[Nodes]:
    """Return a cluster whose nodes serve what they have, whether the others are there or not."""
    cluster = make_cluster(primaries=3, cluster_require_full_coverage="no", cluster_node_timeout="1000")
    wire = Wire(cluster.endpoint)
    opened: list[RedisStreamsPersistence] = []

    def open_worker() -> RedisStreamsPersistence:
        chosen: dict[str, Any] = {"prefix": PREFIX, "driver": driver_name, "command_timeout": COMMAND_TIMEOUT}
        opened.append(RedisStreamsPersistence(RedisStreamsConfig(cluster.url, **chosen)))
        return opened[-1]

    streams = [each.stream for each in await on_each_node(wire, PREFIX)]
    yield Nodes(cluster, wire, streams, open_worker)
    for backend in opened:
        await backend.aclose()
    await wire.aclose()


async def handled(subscription: Subscription, count: int, *, within: float) -> Counter[str]:
    """Handle so many, and return how many there were of each stream."""
    seen: Counter[str] = Counter()
    with anyio.fail_after(within):
        for _ in range(count):
            async with await anext(subscription) as delivery:
                seen[delivery.source.stream] += 1
    return seen


@pytest.mark.parametrize("ordering", ORDERINGS)
async def test_an_entry_of_any_node_comes_at_once(nodes: Nodes, ordering: str) -> None:
    async with nodes.subscription(ordering=ordering) as subscription:
        waits = []
        for number in range(30):
            stream = [*nodes.others, nodes.lost][number % 3]
            begun = time.monotonic()
            await nodes.write(stream, range(number, number + 1))
            assert await handled(subscription, 1, within=5) == {stream: 1}
            waits.append(time.monotonic() - begun)
    # The first of them waited for the groups.
    assert sorted(waits)[len(waits) // 2] < 0.05


@contextmanager
def harmed(nodes: Nodes, harm: str) -> Iterator[None]:
    """Kill a node for good, or stop it for a while."""
    if harm == "killed":
        nodes.victim.kill()
        yield
        return
    nodes.victim.pause()
    try:
        yield
    finally:
        nodes.victim.resume()


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("harm", HARMS)
async def test_a_worker_begins_where_one_node_is_away(nodes: Nodes, harm: str, ordering: str) -> None:
    for stream in (*nodes.others, nodes.lost):
        await nodes.write(stream, range(50))
    with harmed(nodes, harm):
        async with nodes.subscription(ordering=ordering) as subscription:
            assert await handled(subscription, 100, within=5) == dict.fromkeys(nodes.others, 50)


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("harm", HARMS)
async def test_others_are_read_as_fast_while_one_node_is_away(nodes: Nodes, harm: str, ordering: str) -> None:
    first = nodes.others[0]
    async with nodes.subscription(ordering=ordering) as subscription:
        await nodes.write(nodes.lost, range(50))
        assert await handled(subscription, 50, within=10) == {nodes.lost: 50}
        with harmed(nodes, harm):
            # Longer than a lease, and than it takes to learn that the node is away.
            waits = []
            for number in range(60):
                begun = time.monotonic()
                await nodes.write(first, range(number, number + 1))
                assert await handled(subscription, 1, within=5) == {first: 1}
                waits.append(time.monotonic() - begun)
                await asyncio.sleep(0.05)
    assert max(waits) < 0.5
    assert await nodes.pending(first) == 0


@pytest.mark.parametrize("ordering", ORDERINGS)
async def test_all_that_a_silent_node_has_comes_when_it_answers_again(nodes: Nodes, ordering: str) -> None:
    handling = asyncio.Event()
    numbers: Counter[int] = Counter()

    async def handle(delivery: Delivery) -> None:
        numbers[delivery.data["payload"]] += delivery.source.stream == nodes.lost
        handling.set()

    await nodes.write(nodes.lost, range(500))
    async with nodes.working(handle, ordering=ordering):
        await handling.wait()
        with harmed(nodes, "stopped"):
            await asyncio.sleep(2 * COMMAND_TIMEOUT)
        with anyio.fail_after(15):
            while len(numbers) < 500 or await nodes.pending(nodes.lost):
                await asyncio.sleep(0.05)
    assert sorted(numbers) == [*range(500)]


async def test_what_others_gave_goes_back_at_the_end_though_one_node_is_silent(nodes: Nodes) -> None:
    for stream in nodes.others:
        await nodes.write(stream, range(2))
    with harmed(nodes, "stopped"):
        async with nodes.subscription(concurrency=10, claim_idle=60.0) as subscription:
            with anyio.fail_after(5):
                for _ in range(4):
                    await anext(subscription)
        async with nodes.subscription(claim_idle=60.0) as heir:
            assert await handled(heir, 4, within=5) == dict.fromkeys(nodes.others, 2)
