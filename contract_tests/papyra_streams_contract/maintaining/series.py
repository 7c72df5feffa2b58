"""Rounds on one server, one after another."""

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from papyra_streams_contract.arranging import eventually
from papyra_streams_contract.servers import PrivateServer
from papyra_streams_contract.wire import Wire

from .orders import Operation
from .plans import COMPANIES, Company, Plan
from .processes import Clients
from .rounds import Round

# The server reads its file at each restart: it is written anew from time to time, when the streams of a round are gone.
_ROUNDS_OF_A_FILE = 5


@dataclass(slots=True)
class Seen:
    """What the rounds came to."""

    kills: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    half_done: int = 0
    given_up: int = 0
    seconds: dict[Company, float] = field(default_factory=dict)

    def __str__(self) -> str:
        kills = ", ".join(f"{count} x {kill}" for kill, count in sorted(self.kills.items()))
        seconds = ", ".join(f"{seconds:.3f} s beside {company}" for company, seconds in self.seconds.items())
        return (
            f"{self.kills.total()} kills, {self.under_way} while the operation ran, {self.half_done} left it half done"
            f" ({kills}), {self.given_up} clients gave the server up; left in peace it takes {seconds}"
        )


class Series:
    """Plays rounds, and counts."""

    def __init__(self, server: PrivateServer, driver: str, clients: Clients) -> None:
        self.seen = Seen()
        self._server = server
        self._driver = driver
        self._clients = clients

    async def measure(self, seed: int, operation: Operation) -> None:
        """Learn how long the operation takes in each company, when nobody is killed."""
        # With the first one the server takes in the scripts.
        for number, company in enumerate((COMPANIES[0], *COMPANIES), start=1):
            plan = replace(Plan.of(seed, -number, operation), harm="nobody", company=company, moment=0.0)
            self.seen.seconds[company] = 0.0
            played = await self._play(plan)
            self.seen.seconds[company] = played.seconds

    async def run(self, plans: Sequence[Plan]) -> None:
        """Play rounds."""
        for plan in plans:
            self._count(await self._play(plan))
            if plan.number % _ROUNDS_OF_A_FILE == 0:
                await self._write_file_anew()

    async def _play(self, plan: Plan) -> Round:
        orders = plan.orders(self._server, self._driver)
        clients = [self._clients.start(orders) for _ in range(2 if plan.company == "another" else 1)]
        played = Round(plan, orders, self._server, clients)
        try:
            await played.arrange()
            await played.strike(self.seen.seconds[plan.company])
            await played.judge()
        except BaseException as error:
            error.add_note(f"This was {plan}")
            raise
        await self._clients.end()
        return played

    def _count(self, played: Round) -> None:
        self.seen.kills[f"{played.plan.harm} beside {played.plan.company}"] += 1
        self.seen.under_way += played.was_under_way
        self.seen.half_done += played.was_half_done
        self.seen.given_up += played.given_up
        if not played.was_under_way:
            # It was faster than when it was measured.
            company = played.plan.company
            self.seen.seconds[company] = min(self.seen.seconds[company], played.seconds)

    async def _write_file_anew(self) -> None:
        async with aclosing(Wire(self._server.endpoint)) as wire:
            await wire("BGREWRITEAOF")

            async def is_written() -> bool:
                return b"aof_rewrite_in_progress:0" in await wire.text("INFO", "persistence")

            await eventually(is_written)
