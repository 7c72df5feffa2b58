"""What is measured of writing."""

import gc
from collections.abc import Callable, Sequence
from functools import partial

from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import PersistedEvent

from . import actors, bars, calls, contenders, makers, writing
from .contenders import Gate, NoBackend, Open, ours
from .rounds import Found, Measurement
from .servers import RunningServer
from .writing import Work

CALLS = 3000
MANY = 100_000
ACTOR_SECONDS = 2.0


def measurements(
    server: RunningServer, drivers: Sequence[str], events: list[PersistedEvent], size: int
) -> list[list[Measurement]]:
    """Return what each round measures.

    :param size: bytes of an entry's value, for the makers' benchmark
    """
    backends: dict[str, Open] = {bars.PAPYRA: contenders.papyra, **{driver: ours(driver) for driver in drivers}}
    return [
        _tasks(server, bars.ANYIO_TASKS, backends, events, writing.tasks_of_anyio(events)),
        _tasks(server, bars.ASYNCIO_TASKS, backends, events, writing.tasks_of_asyncio(events)),
        [_calls(server, backends, events[:CALLS])],
        _many(server, drivers, events, size),
        [_actors(server, backends)],
    ]


def _tasks(
    server: RunningServer, measure: str, backends: dict[str, Open], events: list[PersistedEvent], work: Work
) -> list[Measurement]:
    async def floor() -> Found:
        gc.collect()
        return {bars.FLOOR: await work(Gate(len(events)))}

    nothing = Measurement(measure=measure, contender=bars.FLOOR, run=floor)
    return [nothing, *_written(server, measure, backends, events, len(events), work)]


def _written(
    server: RunningServer,
    measure: str,
    backends: dict[str, Open],
    events: list[PersistedEvent],
    count: int,
    work: Work,
) -> list[Measurement]:
    def measurement(name: str, build: Open) -> Measurement:
        async def run() -> Found:
            return {name: await writing.measure(server, build, writing.stored(server, count, work), events)}

        return Measurement(measure=measure, contender=name, run=run)

    return [measurement(name, build) for name, build in backends.items()]


def _calls(server: RunningServer, backends: dict[str, Open], events: list[PersistedEvent]) -> Measurement:
    async def run() -> Found:
        return await calls.measure(server, backends, events)

    return Measurement(measure=bars.CALLS, contender="all in turn", run=run)


def _many(server: RunningServer, drivers: Sequence[str], events: list[PersistedEvent], size: int) -> list[Measurement]:
    work = writing.in_bulk(events, MANY)
    measurements = _written(server, bars.MANY, {driver: ours(driver) for driver in drivers}, events, MANY, work)
    if (program := server.benchmark) is None:
        return measurements

    async def run() -> Found:
        return {bars.MAKERS: await makers.pipelined_xadd(server, program, count=MANY, size=size)}

    return [Measurement(measure=bars.MANY, contender=bars.MAKERS, run=run), *measurements]


def _actors(server: RunningServer, backends: dict[str, Open]) -> Measurement:
    builds: dict[str, Callable[[], PersistenceBackend]] = {
        name: partial(build, server.url) for name, build in backends.items()
    }

    async def run() -> Found:
        server.empty()
        return await actors.measure({bars.FLOOR: NoBackend, **builds}, ACTOR_SECONDS)

    return Measurement(measure=bars.ACTORS, contender="all in turn", run=run)
