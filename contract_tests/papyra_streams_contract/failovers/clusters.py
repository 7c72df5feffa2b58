"""A cluster in which every primary has replicas."""

from collections.abc import Mapping
from pathlib import Path

from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.servers import NO_SETTINGS
from papyra_streams_contract.topologies.access import OPEN, Access
from papyra_streams_contract.topologies.clusters import Cluster, ReplicaNode
from papyra_streams_contract.wire import ask_once

from .deployments import SETTINGS, Deployment, replicas_online

_PRIMARIES = 3
_SETTINGS = {
    **SETTINGS,
    "cluster-node-timeout": "1000",
    # A replica would go to a primary whose own one has just taken over.
    "cluster-migration-barrier": "10",
}


class ReplicatedCluster(Deployment):
    """Three primaries, each with replicas of its own."""

    def __init__(
        self,
        program: Path,
        *,
        replicas: int = 1,
        keeps_data: bool = False,
        settings: Mapping[str, str] = NO_SETTINGS,
        access: Access = OPEN,
    ) -> None:
        settings = {**_SETTINGS, **settings}
        self._cluster = Cluster(program, settings, keeps_data=keeps_data, primaries=_PRIMARIES, access=access)
        self._replicas = [
            ReplicaNode(program, node, settings, keeps_data=keeps_data, access=access)
            for node in self._cluster.nodes
            for _ in range(replicas)
        ]
        super().__init__(self._cluster, [*self._cluster.nodes, *self._replicas])

    async def start(self) -> None:
        self._cluster.start()
        for replica in self._replicas:
            replica.start()
        await self.in_step()

    def find_primary(self, key: str) -> ServerProcess | None:
        # All others say where it has moved, or that nobody serves it.
        answers = [node for node in self.present if ask_once(node.endpoint, f"EXISTS {key}").startswith(b":")]
        return answers[0] if len(answers) == 1 else None

    def follow(self, member: ServerProcess, key: str) -> None:
        """Leave it to the member, which hears from the others who has taken over."""

    async def _is_in_step(self) -> bool:
        return all(map(self._knows_all, self.present)) and sum(map(replicas_online, self.present)) == len(
            self._replicas
        )

    def _knows_all(self, node: ServerProcess) -> bool:
        nodes = ask_once(node.endpoint, "CLUSTER NODES")
        return (
            b"cluster_state:ok" in ask_once(node.endpoint, "CLUSTER INFO")
            and nodes.count(b"master - ") == _PRIMARIES
            and nodes.count(b"slave ") == len(self._replicas)
            and b"fail" not in nodes
        )
