"""Rounds: all contenders of a measure one after another, and that again, so that what slows the machine slows all."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import anyio

T = TypeVar("T")

Quantities = dict[str, float]
"""What was found of one contender, by name."""

Found = dict[str, Quantities]
"""What one measurement found, by contender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One contender in one measure, or several that take turns."""

    measure: str
    contender: str
    run: Callable[[], Awaitable[Found]]


@dataclass(frozen=True, slots=True)
class Samples:
    """What was found: a value for each round, by measure, contender and quantity."""

    found: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)

    def add(self, measure: str, found: Found) -> None:
        """Add one round's values."""
        for contender, quantities in found.items():
            of_contender = self.found.setdefault(measure, {}).setdefault(contender, {})
            for name, value in quantities.items():
                of_contender.setdefault(name, []).append(value)

    def of(self, measure: str, contender: str, quantity: str) -> list[float]:
        """Return one value for each round; none if this was not measured."""
        return self.found.get(measure, {}).get(contender, {}).get(quantity, [])


def play(
    measures: Sequence[Sequence[Measurement]], *, rounds: int, say: Callable[[str], None] = lambda _: None
) -> Samples:
    """Run every measurement once in each round, each in an event loop of its own."""
    samples = Samples()
    for number in range(rounds):
        for measurement in chain.from_iterable(turned(contenders, number) for contenders in measures):
            say(f"round {number + 1} of {rounds}: {measurement.measure}, {measurement.contender}")
            samples.add(measurement.measure, anyio.run(measurement.run))
    return samples


def turned(contenders: Sequence[T], number: int) -> list[T]:
    """Let another one come first each time, should it matter who does."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]
