"""Moving a slot from one node of a cluster to another, key by key, or all at once, as Valkey 9 and Redis 8.4 can."""

import asyncio

from ..wire import Wire, WireError
from .clusters import Cluster, ClusterNode


class SlotMove:
    """The way of one slot, a step at a time."""

    def __init__(self, cluster: Cluster, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        self._cluster = cluster
        self._slot = slot
        self.single = source
        self._target = target

    def begin(self) -> None:
        """Let the source send whoever asks for a key that it has not to the target."""
        self._target.ask(f"CLUSTER SETSLOT {self._slot} IMPORTING {_name(self.single)}")
        self.single.ask(f"CLUSTER SETSLOT {self._slot} MIGRATING {_name(self._target)}")

    async def move_keys(self, *, at_most: int = 1000) -> list[bytes]:
        """Move some keys, and return their names."""
        wire = Wire(self.single.endpoint)
        try:
            names = await wire.rows("CLUSTER", "GETKEYSINSLOT", self._slot, at_most)
            keys = [name for name in names if isinstance(name, bytes)]
            if keys:
                await wire("MIGRATE", *self._target.peer, "", 0, 5000, "KEYS", *keys)
        finally:
            await wire.aclose()
        return keys

    def end(self) -> None:
        """Let everybody know that the target has the slot."""
        # The target first: if the source did not know it any more, nobody would have the slot for a moment.
        for node in (self._target, self.single, *self._cluster.nodes):
            node.ask(f"CLUSTER SETSLOT {self._slot} NODE {_name(self._target)}")

    async def run(self) -> None:
        """Do all of it, key by key."""
        self.begin()
        while await self.move_keys():
            pass
        self.end()

    async def run_at_once(self) -> None:
        """Have the servers do it, as those can that move a slot as a whole.

        :raises WireError: if they cannot
        """
        source, target = Wire(self.single.endpoint), Wire(self._target.endpoint)
        try:
            if not await _asked_valkey(source, self._slot, _name(self._target)):
                await target("CLUSTER", "MIGRATION", "IMPORT", self._slot, self._slot)
            async with asyncio.timeout(10):
                while not await self._has_arrived(target):
                    await asyncio.sleep(0.02)
        finally:
            await source.aclose()
            await target.aclose()

    async def _has_arrived(self, target: Wire) -> bool:
        for row in await target.rows("CLUSTER", "SLOTS"):
            match row:
                case [int(first), int(last), [_, int(port), *_], *_]:
                    if first <= self._slot <= last and port == self._target.endpoint.port:
                        return True
        return False


async def _asked_valkey(source: Wire, slot: int, target: str) -> bool:
    try:
        await source("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target)
    except WireError as error:
        if "unknown subcommand" in str(error).lower():
            return False
        raise
    return True


def _name(node: ClusterNode) -> str:
    return node.ask("CLUSTER MYID").decode()
