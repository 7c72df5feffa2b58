"""What is to happen in each round."""

from dataclasses import dataclass
from random import Random
from typing import Literal, Self

from papyra_streams_contract.servers import PrivateServer

from .orders import Operation, Orders

Harm = Literal["client", "server", "both", "nobody"]
Company = Literal["nobody", "another", "traffic"]
COMPANIES: tuple[Company, ...] = ("nobody", "another", "traffic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One round: all of it follows from the seed, the operation and the number.

    ``harm`` -- who is killed; ``both`` are the server and all clients
    ``company`` -- who else is at work: another client at the same operation, or a writer and a consumer
    ``moment`` -- when that is, as a share of the time that the operation takes
    """

    seed: int
    number: int
    operation: Operation
    harm: Harm
    company: Company
    moment: float
    approximate: bool

    @classmethod
    def of(cls, seed: int, number: int, operation: Operation) -> Self:
        """Make the plan of a round."""
        chance = Random(f"{seed} {operation} {number}")
        harms: tuple[Harm, ...] = ("client", "server", "both")
        return cls(
            seed=seed,
            number=number,
            operation=operation,
            harm=chance.choices(harms, (4, 4, 2))[0],
            company=chance.choices(COMPANIES, (2, 1, 1))[0],
            moment=chance.random(),
            approximate=chance.random() < 0.5,
        )

    @property
    def chance(self) -> Random:
        """What else is left to chance."""
        return Random(f"{self.seed} {self.operation} {self.number} entries")

    def orders(self, server: PrivateServer, driver: str) -> Orders:
        """Tell the clients what to do."""
        return Orders(
            url=server.url,
            driver=driver,
            prefix=f"{self.operation}{self.number}",
            operation=self.operation,
            approximate=self.approximate,
        )
