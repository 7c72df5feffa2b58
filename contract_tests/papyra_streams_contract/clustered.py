"""Clusters that a test may harm, and streams on each of their nodes."""

from collections.abc import Callable, Iterator

import pytest

from papyra_streams.ports import Member

from .arranging import member
from .matrix import Target
from .topologies.base import TopologySource
from .topologies.clusters import Cluster
from .wire import Wire

MakeCluster = Callable[..., Cluster]


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
