"""What is measured of reading."""

from collections.abc import Iterator, Sequence
from functools import partial

from papyra.persistence.models import PersistedEvent

from benchmarks import bars
from benchmarks.rounds import Found, Measurement
from benchmarks.servers import RunningServer

from . import loops, takeover
from .loops import Loop
from .shelf import check_acknowledged, fill, group_of_its_own

ENTRIES = 100_000


def measurements(
    server: RunningServer, drivers: Sequence[str], events: Sequence[PersistedEvent]
) -> list[list[Measurement]]:
    """Return what each round measures, in this order: the entries come first."""
    return [
        [Measurement(measure=bars.HANDLED, contender="the entries", run=partial(_nothing_found, server, events))],
        [
            Measurement(measure=bars.HANDLED, contender=name, run=partial(_read, server, name, loop))
            for name, loop in _contenders(drivers)
        ],
        [
            Measurement(
                measure=bars.TAKEOVER, contender="all in turn", run=partial(takeover.measure, server, drivers, events)
            )
        ],
    ]


def _contenders(drivers: Sequence[str]) -> Iterator[tuple[str, Loop]]:
    yield bars.PAPYRA, loops.papyra
    for driver in drivers:
        yield bars.bare(driver), loops.BARE[driver]
        yield driver, loops.in_batches(driver)
        yield bars.singly(driver), loops.singly(driver)


async def _nothing_found(server: RunningServer, events: Sequence[PersistedEvent]) -> Found:
    await fill(server, events, ENTRIES)
    return {}


async def _read(server: RunningServer, name: str, loop: Loop) -> Found:
    async with group_of_its_own(server) as group:
        seconds = await loop(server.url, group, ENTRIES)
        await check_acknowledged(server, group)
    return {name: {"rate": ENTRIES / seconds}}
