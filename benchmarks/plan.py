"""Everything that is measured on one server."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import anyio
from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import PersistedEvent

from . import actors, bars, calls, contenders, makers, memory, writing
from .bystanders import Bystanders
from .contenders import Gate, NoBackend, Open, ours
from .events import persisted
from .memory import QueuedRecord
from .rounds import Found, Measurement, Samples, play
from .servers import RunningServer
from .writing import Work

TASKS = 10_000
CALLS = 3000
MANY = 100_000
QUEUED = 5000
ACTOR_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was measured on one server.

    ``entry_size`` -- bytes of an entry's value, on average
    ``queued`` -- what a record costs in memory that waits, by driver
    ``bystanders`` -- the share of the machine's time that other processes took; None if that is not known
    """

    server: str
    version: str
    entry_size: int
    samples: Samples
    queued: dict[str, QueuedRecord]
    bystanders: float | None


def measure(server: RunningServer, drivers: Sequence[str], *, rounds: int, say: Callable[[str], None]) -> Findings:
    """Measure one server with every driver."""
    events = persisted(TASKS)
    size = anyio.run(makers.entry_size, server, drivers[0])
    backends = {bars.PAPYRA: contenders.papyra, **{driver: ours(driver) for driver in drivers}}
    measures = [
        _tasks(server, bars.ANYIO_TASKS, backends, events, writing.tasks_of_anyio(events)),
        _tasks(server, bars.ASYNCIO_TASKS, backends, events, writing.tasks_of_asyncio(events)),
        [_calls(server, backends, events[:CALLS])],
        _many(server, drivers, events, size),
        [_actors(server, backends)],
    ]
    bystanders = Bystanders(server)
    samples = play(measures, rounds=rounds, say=say)
    share = bystanders.share()
    queued = {driver: memory.measure(server, driver, events[:QUEUED]) for driver in drivers}
    return Findings(
        server=server.name,
        version=server.version,
        entry_size=size,
        samples=samples,
        queued=queued,
        bystanders=share,
    )


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
