"""What is measured of maintenance."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

from papyra.persistence.models import PersistedEvent

from benchmarks import bars
from benchmarks.rounds import Found, Measurement
from benchmarks.servers import RunningServer

from . import compacting, listing, scanning
from .shelf import fill

Run = Callable[[], Awaitable[Found]]


def measurements(
    server: RunningServer, drivers: Sequence[str], events: Sequence[PersistedEvent]
) -> list[list[Measurement]]:
    """Return what each round measures, in this order: the entries come first."""
    measures: list[tuple[str, Iterator[tuple[str, Run]]]] = [
        ("the entries", iter([("a million", partial(_nothing_found, server, events))])),
        (bars.LISTED, _listing(server, drivers)),
        (bars.SCANNED, _scanning(server, drivers)),
        (bars.COMPACTED, iter([("all in turn", partial(compacting.measure, server, drivers))])),
        (bars.PINGED, iter([("all in turn", partial(compacting.pings, server, drivers))])),
    ]
    return [
        [Measurement(measure=measure, contender=name, run=run) for name, run in contenders]
        for measure, contenders in measures
    ]


async def _nothing_found(server: RunningServer, events: Sequence[PersistedEvent]) -> Found:
    await fill(server, events)
    return {}


def _listing(server: RunningServer, drivers: Sequence[str]) -> Iterator[tuple[str, Run]]:
    yield bars.PAPYRA, partial(listing.of_papyra, server)
    for driver in drivers:
        yield driver, partial(listing.of_ours, server, driver)


def _scanning(server: RunningServer, drivers: Sequence[str]) -> Iterator[tuple[str, Run]]:
    for driver in drivers:
        yield bars.bare(driver), partial(scanning.bare, server, driver)
        yield driver, partial(scanning.ours, server, driver)
