"""What is compared with what, and how good it has to be."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .rounds import Samples

ANYIO_TASKS = "anyio tasks"
ASYNCIO_TASKS = "asyncio tasks"
CALLS = "calls"
MANY = "record_many"
ACTORS = "actor messages"
HANDLED = "entries handled"
TAKEOVER = "takeover"
MEMORY = "worker's memory"
LISTED = "list_events"
SCANNED = "full scan"
COMPACTED = "compaction"
PINGED = "PING while compacting"
CLIENT = "client's memory"
BYTES = "bytes"
SYSTEMS_MANY = "12 systems, record_many"
SYSTEMS_TASKS = "12 systems, tasks"
SYSTEMS_CALLS = "12 systems, calls"
HOT_MANY = "hot system, record_many"
HOT_TASKS = "hot system, tasks"

FLOOR = "nothing stored"
PAPYRA = "papyra"
MAKERS = "benchmark -P 64"
CLAIMED = "claim_idle + 1 s"
XTRIM = "XTRIM MINID ="
ALLOWED_WAIT = "10 ms"
ALLOWED_MEMORY = "64 MiB"

BUSIEST = "busiest CPU"
PER_CPU_SECOND = "per CPU second"
PER_CLIENT_SECOND = "per client's CPU second"


def singly(driver: str) -> str:
    """Name the worker that is given one delivery at a time."""
    return f"{driver}, singly"


def bare(driver: str) -> str:
    """Name the loop over a driver's client library alone."""
    return f"bare {driver}"


def early(driver: str) -> str:
    """Name the worker that has handled a tenth of its entries."""
    return f"{driver}, early"


def few(driver: str) -> str:
    """Name the backend that reads from a small stream."""
    return f"{driver}, of 1,000"


def exact(driver: str) -> str:
    """Name the backend whose compaction leaves nothing in place."""
    return f"{driver}, exactly"


def on_one(driver: str) -> str:
    """Name the backends whose streams are on one server."""
    return f"{driver}, 1 node"


def on_three(driver: str) -> str:
    """Name the backends whose streams are on a cluster of three primaries."""
    return f"{driver}, 3 nodes"


def whole(driver: str) -> str:
    """Name the backend whose events are one stream of a cluster."""
    return f"{driver}, partitions=1"


def divided(driver: str) -> str:
    """Name the backend whose events are divided among the primaries."""
    return f"{driver}, partitions=3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How good a ratio has to be."""

    bound: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"

    def is_met_by(self, ratio: float) -> bool:
        """Tell whether a ratio is good enough, as measured and not as printed."""
        return ratio <= self.bound if self.at_most else ratio >= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One contender beside another in the same measure."""

    measure: str
    contender: str
    beside: str
    quantity: str = "rate"
    bar: Bar | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A comparison's medians over the rounds; ``least`` and ``greatest`` are the ratios of single rounds.

    ``value``, ``other`` -- what was measured of the contender, and of the one it is put beside
    """

    comparison: Comparison
    value: float
    other: float
    ratio: float
    least: float
    greatest: float

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        bar = self.comparison.bar
        return None if bar is None else bar.is_met_by(self.ratio)


def comparisons(drivers: Sequence[str]) -> Iterator[Comparison]:
    """Yield every comparison, measure by measure."""
    yield from _of_writing(drivers)
    yield from _of_reading(drivers)
    yield from _of_maintenance(drivers)
    yield from _of_cluster(drivers)


def _of_writing(drivers: Sequence[str]) -> Iterator[Comparison]:
    for measure, bar in ((ANYIO_TASKS, Bar(bound=10.0)), (ASYNCIO_TASKS, None)):
        yield Comparison(measure=measure, contender=FLOOR, beside=PAPYRA)
        for driver in drivers:
            yield Comparison(measure=measure, contender=driver, beside=PAPYRA, bar=bar)
            yield Comparison(measure=measure, contender=driver, beside=FLOOR)
    for driver in drivers:
        yield Comparison(measure=CALLS, contender=driver, beside=PAPYRA, bar=Bar(bound=1.0))
        yield Comparison(measure=CALLS, contender=driver, beside=PAPYRA, quantity="p50")
        p99 = Bar(bound=1.0, at_most=True)
        yield Comparison(measure=CALLS, contender=driver, beside=PAPYRA, quantity="p99", bar=p99)
    for driver in drivers:
        yield Comparison(measure=MANY, contender=driver, beside=MAKERS, bar=Bar(bound=0.45))
    yield Comparison(measure=ACTORS, contender=PAPYRA, beside=FLOOR)
    for driver in drivers:
        yield Comparison(measure=ACTORS, contender=driver, beside=FLOOR, bar=Bar(bound=0.90))


def _of_reading(drivers: Sequence[str]) -> Iterator[Comparison]:
    for driver in drivers:
        yield Comparison(measure=HANDLED, contender=driver, beside=PAPYRA, bar=Bar(bound=3.0))
        yield Comparison(measure=HANDLED, contender=driver, beside=bare(driver), bar=Bar(bound=0.5))
        yield Comparison(measure=HANDLED, contender=singly(driver), beside=PAPYRA)
        yield Comparison(measure=HANDLED, contender=singly(driver), beside=bare(driver))
    at_most_as_long = Bar(bound=1.0, at_most=True)
    for driver in drivers:
        yield Comparison(measure=TAKEOVER, contender=driver, beside=CLAIMED, quantity="seconds", bar=at_most_as_long)
    flat = Bar(bound=1.05, at_most=True)
    for driver in drivers:
        yield Comparison(measure=MEMORY, contender=driver, beside=early(driver), quantity="bytes", bar=flat)


def _of_maintenance(drivers: Sequence[str]) -> Iterator[Comparison]:
    twice_as_long, within = Bar(bound=2.0, at_most=True), Bar(bound=1.0, at_most=True)
    for driver in drivers:
        yield Comparison(measure=LISTED, contender=driver, beside=few(driver), quantity="p50", bar=twice_as_long)
        yield Comparison(measure=LISTED, contender=driver, beside=PAPYRA, bar=Bar(bound=200.0))
    for driver in drivers:
        yield Comparison(measure=SCANNED, contender=driver, beside=bare(driver), bar=Bar(bound=0.5))
    for driver in drivers:
        for contender in (driver, exact(driver)):
            yield Comparison(
                measure=COMPACTED, contender=contender, beside=XTRIM, quantity="seconds", bar=twice_as_long
            )
    for driver in drivers:
        yield Comparison(measure=PINGED, contender=driver, beside=ALLOWED_WAIT, quantity="p99", bar=within)
    for driver in drivers:
        yield Comparison(measure=CLIENT, contender=driver, beside=ALLOWED_MEMORY, quantity="bytes", bar=within)


def _of_cluster(drivers: Sequence[str]) -> Iterator[Comparison]:
    quantities = (
        ("rate", Bar(bound=0.9)),
        (BUSIEST, Bar(bound=0.6, at_most=True)),
        (PER_CPU_SECOND, None),
        (PER_CLIENT_SECOND, None),
    )
    for measures, contender, beside in (
        ((SYSTEMS_MANY, SYSTEMS_TASKS, SYSTEMS_CALLS), on_three, on_one),
        ((HOT_MANY, HOT_TASKS), divided, whole),
    ):
        for measure in measures:
            for driver in drivers:
                for quantity, bar in quantities:
                    yield Comparison(
                        measure=measure,
                        contender=contender(driver),
                        beside=beside(driver),
                        quantity=quantity,
                        bar=bar,
                    )


def outcomes(samples: Samples, drivers: Sequence[str]) -> list[Outcome]:
    """Compare what was measured, round by round."""
    return [outcome for each in comparisons(drivers) if (outcome := _compare(samples, each)) is not None]


def _compare(samples: Samples, comparison: Comparison) -> Outcome | None:
    values = samples.of(comparison.measure, comparison.contender, comparison.quantity)
    others = samples.of(comparison.measure, comparison.beside, comparison.quantity)
    if not values or not others:
        return None
    ratios = [value / other for value, other in zip(values, others, strict=True)]
    return Outcome(
        comparison=comparison,
        value=statistics.median(values),
        other=statistics.median(others),
        ratio=statistics.median(ratios),
        least=min(ratios),
        greatest=max(ratios),
    )
