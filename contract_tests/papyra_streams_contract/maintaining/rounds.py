"""One round: streams are made, an operation is begun, something is killed in its midst, and everything is counted."""

import time
from collections.abc import Sequence
from contextlib import aclosing

import anyio

from papyra_streams.domain.kinds import AUDITS, EVENTS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams_contract.servers import PrivateServer
from papyra_streams_contract.wire import Wire

from .arranging import SLOW, arrange
from .checking import Rules, check_finished, check_step
from .orders import Orders
from .plans import Plan
from .processes import Client
from .snapshots import Snapshot, look
from .traffic import Traffic

_COUNTS: dict[Kind, int] = {EVENTS: 3000, AUDITS: 300}
# A server that reads the same stream from its file may need a little more for it: with Redis 6.2 once 16 bytes.
_BYTES_OF_A_RESTART = 1024


class Round:
    """A round as it goes on."""

    def __init__(self, plan: Plan, orders: Orders, server: PrivateServer, clients: Sequence[Client]) -> None:
        self.plan = plan
        self.was_under_way = False
        self.was_half_done = False
        self.given_up = 0
        self._orders = orders
        self._server = server
        self._clients = clients
        self._rules = {
            kind: Rules(operation=plan.operation, stream=orders.keys.stream(Partition(kind))) for kind in _COUNTS
        }
        self._before: dict[Kind, Snapshot] = {}
        self._traffic: Traffic | None = None

    @property
    def seconds(self) -> float:
        """How long the operation took, if it was left in peace."""
        assert self._clients[0].done
        return (self._clients[0].done - self._clients[0].begun) / 1e9

    async def arrange(self) -> None:
        """Make the streams."""
        chance = self.plan.chance
        async with aclosing(Wire(self._server.endpoint)) as wire:
            for kind, rules in self._rules.items():
                rules.bad |= await arrange(wire, rules.stream, kind, chance, _COUNTS[kind])
            self._before = await self._look(wire)
        if self.plan.company == "traffic":
            events, rules = self._before[EVENTS], self._rules[EVENTS]
            held = [each for each in events.groups[SLOW].pending if each in events.entries]
            good = [each for each in events.entries if each not in rules.bad]
            doomed = chance.sample(good, len(good) // 2)
            self._traffic = Traffic(self._server.endpoint, rules.stream, chance, held=held, doomed=doomed)
        for client in self._clients:
            await client.ready()

    async def strike(self, usual_seconds: float) -> None:
        """Begin the operation, kill whom the plan names, and wait for the others."""
        if self._traffic:
            self._traffic.start()
        for client in self._clients:
            await client.begin()
        await anyio.sleep(self.plan.moment * usual_seconds)
        killed = time.monotonic_ns()
        await self._kill()
        for client in self._survivors():
            await client.end(may_give_up=self.plan.harm == "server")
            self.given_up += client.done is None
        if self._traffic:
            await self._traffic.stop()
        self.was_under_way = self._clients[0].done is None or self._clients[0].done > killed

    async def judge(self) -> None:
        """Check what the kill left, finish the operation, and check that it is finished."""
        async with aclosing(Wire(self._server.endpoint)) as wire:
            left, copies = await self._look(wire), await self._copies(wire)
            for kind, rules in self._rules.items():
                ledger = self._traffic.ledger if self._traffic and kind == EVENTS else None
                check_step(rules, self._before[kind], left[kind], ledger)
            await self._finish()
            final = await self._look(wire)
            for kind, rules in self._rules.items():
                check_step(rules, left[kind], final[kind])
                check_finished(rules, final[kind], exact=not self.plan.approximate)
                self._check_memory(final[kind].memory - self._before[kind].memory, rules.stream)
            assert not await self._copies(wire)
            await self._remove(wire)
        moved, rest = _differs(self._before, left), _differs(left, final)
        self.was_half_done = self.was_under_way and (bool(copies) or (moved and rest))

    def _check_memory(self, grown: int, stream: str) -> None:
        most = 0 if self.plan.harm in {"client", "nobody"} else _BYTES_OF_A_RESTART
        assert self._traffic or grown <= most, f"{stream} takes {grown} bytes more"

    async def _kill(self) -> None:
        if self.plan.harm in {"server", "both"}:
            self._server.kill()
        if self.plan.harm == "both":
            for client in self._clients:
                await client.kill()
        if self.plan.harm == "client":
            await self._clients[0].kill()
        if self.plan.harm in {"server", "both"}:
            self._server.start()

    def _survivors(self) -> Sequence[Client]:
        match self.plan.harm:
            case "both":
                return ()
            case "client":
                return self._clients[1:]
            case _:
                return self._clients

    async def _finish(self) -> None:
        backend = self._orders.backend()
        try:
            await self._orders.carry_out(backend)
            if self.plan.operation != "compact":
                assert (await backend.scan(full=True)).anomalies == ()
        finally:
            await backend.aclose()

    async def _look(self, wire: Wire) -> dict[Kind, Snapshot]:
        keys = self._orders.keys
        return {
            kind: await look(wire, keys.stream(Partition(kind)), keys.quarantine(Partition(kind))) for kind in _COUNTS
        }

    async def _copies(self, wire: Wire) -> list[str]:
        """Return the copies that are left, which must go by themselves; nothing else may be left behind."""
        keys = self._orders.keys
        usual = {name for kind in _COUNTS for name in (keys.stream(Partition(kind)), keys.quarantine(Partition(kind)))}
        copies = (
            {keys.rebuilt(Partition(kind), "copy") for kind in _COUNTS} if self.plan.operation == "rebuild" else set()
        )
        others = {name.decode() for name in await wire.keys(f"*{self._orders.prefix}:*")} - usual
        assert others <= copies, others - copies
        for name in others:
            assert await wire.number("PTTL", name) > 0
        return sorted(others)

    async def _remove(self, wire: Wire) -> None:
        for name in await wire.keys(f"*{self._orders.prefix}:*"):
            await wire("UNLINK", name)


def _differs(one: dict[Kind, Snapshot], other: dict[Kind, Snapshot]) -> bool:
    return any(_outline(one[kind]) != _outline(other[kind]) for kind in one)


def _outline(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.entries.keys(), [group.pending.keys() for group in snapshot.groups.values()]
