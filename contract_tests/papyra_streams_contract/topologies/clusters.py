"""Clusters: three primaries that are shared, and private ones of a single node that has all slots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..processes import ServerProcess
from ..servers import NO_SETTINGS, PrivateServer, wait_until
from ..wire import ask_once
from .access import OPEN, Access
from .base import TopologySource

_SLOTS = 16384
# What stands in one line of a command is bounded.
_SLOTS_AT_ONCE = 4096
_SHARED_PRIMARIES = 3


class ClusterNode(ServerProcess):
    """One node; who it is and what it has, it knows again after a restart."""

    def ask(self, command: str) -> bytes:
        """Run a command on it.

        :raises OSError: if it refuses
        """
        reply = ask_once(self.endpoint, command)
        if reply.startswith(b"-"):
            raise OSError(reply.decode())
        return reply

    def add_slots(self, slots: Sequence[int]) -> None:
        """Let it serve slots that nobody has."""
        # Redis 6.2 has no ADDSLOTSRANGE.
        for begin in range(0, len(slots), _SLOTS_AT_ONCE):
            self.ask("CLUSTER ADDSLOTS " + " ".join(map(str, slots[begin : begin + _SLOTS_AT_ONCE])))

    def meet(self, other: "ClusterNode") -> None:
        """Let the two get to know each other, and all whom each of them knows."""
        self.ask("CLUSTER MEET {} {}".format(*other.peer))

    def wait_until_whole(self, *, nodes: int) -> None:
        """Wait until it says that so many nodes have all slots between them."""
        words = (b"cluster_state:ok", b"cluster_known_nodes:%d\r" % nodes)

        def is_whole() -> bool:
            said = self.ask("CLUSTER INFO")
            return all(each in said for each in words)

        wait_until(is_whole, otherwise="the cluster is not whole")

    def _arguments(self) -> list[str]:
        # Outside of the directory of its data, which may be emptied.
        return [*super()._arguments(), "--cluster-enabled", "yes", "--cluster-config-file", str(self._nodes)]

    @property
    def _nodes(self) -> Path:
        return self._directory / "nodes.conf"


class ReplicaNode(ClusterNode):
    """A node that has what another one has."""

    def __init__(
        self,
        program: Path,
        primary: ClusterNode,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        access: Access = OPEN,
    ) -> None:
        super().__init__(program, {**access.settings, **settings}, keeps_data=keeps_data, endpoint=access.endpoint())
        self._primary = primary
        self._joins = True

    def launch(self) -> None:
        self._joins = not self._nodes.exists()
        super().launch()

    def wait(self) -> None:
        super().wait()
        if self._joins:
            self._join()

    def _join(self) -> None:
        self.meet(self._primary)
        primary = self._primary.ask("CLUSTER MYID").decode()
        wait_until(lambda: self._replicates(primary), otherwise="the primary is not known")

    def _replicates(self, primary: str) -> bool:
        # Until the two have met, it is an error.
        self.ask(f"CLUSTER REPLICATE {primary}")
        return True


class Cluster(PrivateServer):
    """A cluster of primaries, which share the slots."""

    rights = ("+cluster|slots",)

    def __init__(
        self,
        program: Path,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        primaries: int = 1,
        access: Access = OPEN,
    ) -> None:
        settings = {**access.settings, **settings}
        self.nodes = [
            ClusterNode(program, settings, keeps_data=keeps_data, endpoint=access.endpoint()) for _ in range(primaries)
        ]
        super().__init__(access.url("cluster", [node.endpoint for node in self.nodes]), self.nodes[0].endpoint)
        self.keeps_data = keeps_data
        self._is_formed = False

    def launch(self) -> None:
        for node in self.nodes:
            node.launch()

    def wait(self) -> None:
        for node in self.nodes:
            node.wait()
        if not self._is_formed:
            self._form()
        for node in self.nodes:
            node.wait_until_whole(nodes=len(self.nodes))

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def _form(self) -> None:
        first, *others = self.nodes
        share = -(-_SLOTS // len(self.nodes))
        for index, node in enumerate(self.nodes):
            # Nodes of one epoch would have to come to terms first.
            node.ask(f"CLUSTER SET-CONFIG-EPOCH {index + 1}")
            node.add_slots(range(_SLOTS)[index * share : (index + 1) * share])
        for node in others:
            node.meet(first)
        self._is_formed = True


class ClusterSource(TopologySource):
    """Clusters of a server program."""

    topology = "cluster"
    example = "redis+cluster://localhost"

    def _make_shared(self) -> Cluster:
        return Cluster(self.program, primaries=_SHARED_PRIMARIES)

    def _make(
        self, settings: Mapping[str, str], *, keeps_data: bool, replica_of: PrivateServer | None
    ) -> Cluster | ReplicaNode:
        if replica_of is None:
            return Cluster(self.program, settings, keeps_data=keeps_data)
        assert isinstance(replica_of, Cluster)
        return ReplicaNode(self.program, replica_of.nodes[0], settings, keeps_data=keeps_data)
