"""Commands to a cluster: each goes to the node that has its keys, wherever these have moved meanwhile."""

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeVar

import anyio

from papyra_streams.backoff import delays
from papyra_streams.endpoint import ClusterNodes
from papyra_streams.errors import Indeterminate, Rejected, StreamsError, Unavailable, UnsupportedOperation
from papyra_streams.ports import Timeouts

from .asking import Asking
from .client import Argument, Command, Reply, RespClient
from .errors import Nameless, Redirected, nobody_told
from .nodes import Connect, Nodes
from .racing import Race
from .slots import Address, SlotMap, slot_map, slot_of

ResultT = TypeVar("ResultT")
_Run = Callable[[RespClient, bool], Awaitable[ResultT]]

# A command that was passed on this often meets nodes that contradict each other.
_MOST_HOPS = 8
# While a slot's keys move, a script that needs two of them may have to wait until both have; seconds.
_LONGEST_WAIT_FOR_KEYS = 2.0
# Nodes agree anew about a second after one of them failed; to ask them more often than this (seconds) tells nothing.
_LEAST_BETWEEN_MAPS = 0.1
# A map that nothing has contradicted is asked for anew after so many seconds: nodes that joined since are told by it.
_LONGEST_TRUSTED = 60.0
# How long one node may take to tell of the others before the next one is asked as well; seconds.
_HEAD_START = 0.3
_ASKING: Command = ("ASKING",)


class ClusterClient(RespClient):
    """Runs commands on the nodes of a cluster, each through a client of its own.

    A redirection means that nothing was run; the command is then sent to where it leads. A node that fails is not tried
    again here: the caller is told, and the next command asks the other nodes who has taken over.
    """

    def __init__(self, cluster: ClusterNodes, timeouts: Timeouts, connect: Connect) -> None:
        self._cluster = cluster
        self._nodes = Nodes(cluster.nodes[0], connect, timeouts)
        self._given = [Address.of(node) for node in cluster.nodes]
        self.event_loops = self._nodes.at(self._given[0]).event_loops
        self._map: SlotMap | None = None
        self._is_stale = False
        self._asked_at = float("-inf")
        self._told_by = self._given[0]
        self._doubtful: set[Address] = set()
        self._asking = Asking()

    def place(self, key: str) -> int:
        """Return the key's slot: a cluster refuses commands whose keys lie in several."""
        return slot_of(key)

    async def call(self, *command: Argument, keys: Sequence[int] = (1,)) -> Reply:
        """Run one command where its first key is; one without keys on any node."""

        async def run(node: RespClient, asking: bool) -> Reply:  # noqa: FBT001 -- as `_Run` says
            return await (_asked(node, command) if asking else node.call(*command, keys=keys))

        return await self._routed(_slot(command, keys), run)

    async def call_blocking(self, *command: Argument, keys: Sequence[int] = (1,), timeout: float) -> Reply:
        """Run one command where its first key is, and wait; a slot that moves away ends the wait on the server."""

        async def run(node: RespClient, asking: bool) -> Reply:  # noqa: FBT001 -- as `_Run` says
            if asking:
                return await _asked(node, command, timeout=timeout)
            return await node.call_blocking(*command, keys=keys, timeout=timeout)

        return await self._routed(_slot(command, keys), run)

    async def batch(
        self, commands: Sequence[Command], *, keys: Sequence[int] = (1,), timeout: float = 0.0
    ) -> list[Reply | StreamsError]:
        """Run commands on one node: the one that has the first command's first key."""
        if not commands:
            return []

        async def run(node: RespClient, asking: bool) -> list[Reply | StreamsError]:  # noqa: FBT001 -- as `_Run` says
            if asking:
                pairs = [each for command in commands for each in (_ASKING, command)]
                replies = (await node.batch(pairs, timeout=timeout))[1::2]
            else:
                replies = await node.batch(commands, keys=keys, timeout=timeout)
            if isinstance(replies[0], Unavailable):
                # Nothing of it has run: what follows the first command only waits for it, or reads the same slot.
                raise replies[0]
            return replies

        return await self._routed(_slot(commands[0], keys), run)

    async def aclose(self) -> None:
        """Close the connections to every node."""
        await self._nodes.aclose()

    # -- the way of one command

    async def _routed(self, slot: int | None, run: _Run[ResultT]) -> ResultT:
        waits = delays(0.01, 0.1)
        deadline = monotonic() + _LONGEST_WAIT_FOR_KEYS
        address, asking, hops = await self._address(slot), False, 0
        while True:
            try:
                return await run(self._nodes.at(address), asking)
            except Redirected as error:
                hops += 1
                address, asking = self._follow(error, address), error.asks
                if hops > _MOST_HOPS:
                    raise Unavailable(f"The nodes of {self._cluster} contradict each other. {error.args[0]}") from error
            except (Unavailable, Indeterminate) as error:
                is_nameless = isinstance(error, Nameless)
                if not (is_nameless or error.code == "TRYAGAIN") or monotonic() > deadline:
                    self._doubt(address)
                    raise
                # The map tells where such a node is, though not by its name.
                self._is_stale |= is_nameless
                await anyio.sleep(next(waits))
                address, asking, hops = await self._address(slot), False, 0

    def _follow(self, error: Redirected, asked: Address) -> Address:
        address = error.leads_to(asked)
        if not error.asks and self._map:
            self._map.move(error.slot, address)
            # Where one slot has moved, others may have.
            self._is_stale = True
        return address

    def _doubt(self, address: Address) -> None:
        self._is_stale = True
        self._doubtful.add(address)

    async def _address(self, slot: int | None) -> Address:
        known = await self._known()
        if slot is None:
            return min((self._told_by, *known.addresses), key=lambda each: each in self._doubtful)
        address = known.address(slot)
        if address is None:
            # Others may know more than who was asked last.
            self._doubt(self._told_by)
            raise Unavailable(f"No node of {self._cluster} serves slot {slot}.", code="CLUSTERDOWN")
        return address

    # -- who has which slots

    async def _known(self) -> SlotMap:
        if self._map and not self._is_due():
            return self._map
        async with self._asking.turn():
            if self._map is None or self._is_due():
                try:
                    self._map = await self._ask_nodes()
                except StreamsError:
                    if self._map is None or self._is_stale:
                        raise
            return self._map

    def _is_due(self) -> bool:
        # Every command comes by here, and anyio's clock takes as long as most of the rest.
        age = monotonic() - self._asked_at
        return age >= (_LEAST_BETWEEN_MAPS if self._is_stale else _LONGEST_TRUSTED)

    async def _ask_nodes(self) -> SlotMap:
        known, replicas = (self._map.addresses, self._map.replicas) if self._map else ([], [])
        # All primaries may have been replaced since: whoever took over was a replica of one.
        everybody = dict.fromkeys([*known, *self._given, *replicas])
        candidates = sorted(everybody, key=lambda each: each in self._doubtful)
        race: Race[Address, tuple[Address, SlotMap]] = Race(self._ask_node, head_start=_HEAD_START)
        try:
            await race.run(candidates, enough=lambda answers: 0.0 if answers else None)
        finally:
            self._asked_at = monotonic()
        if not race.answers:
            raise self._why_unknown(race.errors)
        self._told_by, found = race.answers[0]
        self._is_stale = False
        self._doubtful.discard(self._told_by)
        self._nodes.keep({*found.addresses, *self._given})
        return found

    async def _ask_node(self, address: Address) -> tuple[Address, SlotMap]:
        found = slot_map(await self._nodes.at(address).call("CLUSTER", "SLOTS", keys=()), address)
        if not found.addresses:
            raise Unavailable(f"The node {address.host}:{address.port} knows nobody who serves a slot.")
        return address, found

    def _why_unknown(self, errors: Sequence[StreamsError]) -> StreamsError:
        told = nobody_told(f"No node of {self._cluster} tells who serves which slots.", errors)
        if isinstance(told, Rejected) and "cluster support disabled" in str(told):
            node = self._cluster.nodes[0]
            todo = node.correction(url=f"write {'rediss' if node.tls else 'redis'}://", client="give a client of one")
            return UnsupportedOperation(f"{self._cluster} is no cluster but a single server; {todo}.")
        return told


async def _asked(node: RespClient, command: Command, *, timeout: float = 0.0) -> Reply:
    """Run a command on a node that takes its slot over, which it must be told."""
    _, reply = await node.batch([_ASKING, command], timeout=timeout)
    if isinstance(reply, StreamsError):
        raise reply
    return reply


def _slot(command: Command, keys: Sequence[int]) -> int | None:
    return slot_of(command[keys[0]]) if keys else None
