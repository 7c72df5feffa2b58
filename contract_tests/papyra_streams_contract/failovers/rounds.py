"""Failovers under load, and what each of them cost."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from random import Random

import anyio

from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.wire import Wire

from .accounts import Account, settle, stored_events
from .deployments import Deployment
from .faults import Fault
from .orders import Orders
from .processes import TrafficProcess

_AT_FIRST = 200
_AFTERWARDS = 100
_LONGEST_DELAY = 0.5

Look = Callable[[ServerProcess, ServerProcess, TrafficProcess], Awaitable[None]]
"""Look at a stream's primary, and at what was that, when it is back and may still take itself for it."""


async def _look_away(primary: ServerProcess, former: ServerProcess, traffic: TrafficProcess) -> None:
    pass


class Rounds:
    """Failovers of the same servers, with new traffic each time."""

    def __init__(
        self, deployment: Deployment, directory: Path, chance: Random, *, durability: str, drivers: Sequence[str]
    ) -> None:
        """Let the drivers take turns, and chance decide when something happens."""
        self._deployment = deployment
        self._directory = directory
        self._chance = chance
        self._durability = durability
        self._drivers = drivers
        self._number = 0

    async def run(self, fault: Fault, *, look: Look = _look_away) -> Account:
        """Have a primary fail, bring it back as a replica, and account for every record."""
        orders = self._next_orders()
        with TrafficProcess(orders) as traffic:
            await traffic.recorded(_AT_FIRST)
            await anyio.sleep(self._chance.uniform(0, _LONGEST_DELAY))
            async with fault.strike(self._deployment, orders.stream) as former:
                primary = await self._deployment.taken_over(orders.stream, former)
            await fault.mend(self._deployment, former, orders.stream)
            await look(primary, former, traffic)
            self._deployment.follow(former, orders.stream)
            await self._deployment.in_step()
            await traffic.recorded(_AFTERWARDS)
            summary = await traffic.end()
        server = self._deployment.endpoint(orders.stream)
        account = settle(summary, await stored_events(server, orders.stream))
        async with aclosing(Wire(server)) as wire:
            await wire("FLUSHALL")
        return account

    def _next_orders(self) -> Orders:
        self._number += 1
        name = f"round-{self._number}"
        directory = self._directory / name
        directory.mkdir()
        return Orders(
            url=self._deployment.url,
            driver=self._drivers[self._number % len(self._drivers)],
            durability=self._durability,
            system_id=name,
            directory=str(directory),
        )
