"""What is measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .clusters import ReplicatedCluster
from .deployments import Deployment
from .faults import Fault, Kill, KillAhead, KillAheadOfOne
from .sentinels import WatchedReplicas

TOPOLOGIES: Mapping[str, type[ReplicatedCluster | WatchedReplicas]] = {
    "cluster": ReplicatedCluster,
    "sentinel": WatchedReplicas,
}
DURABILITIES = ("memory", "fsync", "replicas=1")

_REFUSES_ALONE = {"min-replicas-to-write": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of failover, at one level of durability."""

    topology: str
    durability: str
    fault: Fault = field(default_factory=Kill)
    replicas: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    is_aside: bool = False
    """Whether half as many kills tell enough."""

    def deployment(self, program: Path) -> Deployment:
        """Make servers of a program that are yet to be started."""
        return TOPOLOGIES[self.topology](
            program, replicas=self.replicas, keeps_data=self.durability == "fsync", settings=self.settings
        )


def cases() -> Iterator[Case]:
    """Return all there are."""
    for topology in TOPOLOGIES:
        for durability in DURABILITIES:
            for fault in (Kill(), KillAhead()):
                yield Case(topology=topology, durability=durability, fault=fault)
        yield from _asides(topology)


def _asides(topology: str) -> Iterator[Case]:
    yield Case(topology=topology, durability="memory", fault=KillAhead(), settings=_REFUSES_ALONE, is_aside=True)
    yield Case(topology=topology, durability="replicas=1", replicas=2, is_aside=True)
    for durability in ("replicas=1", "replicas=2"):
        yield Case(topology=topology, durability=durability, fault=KillAheadOfOne(), replicas=2, is_aside=True)
