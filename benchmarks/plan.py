"""Everything that is measured on one server."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import anyio
from papyra.persistence.models import PersistedEvent

from . import bars, growing, makers, memory, reading, sizing, writes
from .bystanders import Bystanders
from .events import persisted
from .maintaining import memory as clients
from .maintaining import plan as maintaining
from .memory import QueuedRecord
from .rounds import Measurement, Samples, play
from .servers import RunningServer, running_cluster

WRITING = "writing"
READING = "reading"
MAINTENANCE = "maintenance"
CLUSTER = "cluster"
SIZING = "sizing"
PARTS = (WRITING, READING, MAINTENANCE, CLUSTER, SIZING)

EVENTS = 10_000
QUEUED = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was measured on one server.

    ``parts`` -- of `PARTS`, in their order
    ``entry_size`` -- bytes of an entry's value, on average
    ``queued`` -- what a record costs in memory that waits, by driver, if writing was measured
    ``bystanders`` -- the share of the machine's time that other processes took; None if that is not known
    """

    server: str
    version: str
    parts: Sequence[str]
    entry_size: int
    samples: Samples
    queued: dict[str, QueuedRecord] = field(default_factory=dict)
    bystanders: float | None


def measure(
    server: RunningServer,
    drivers: Sequence[str],
    parts: Collection[str],
    *,
    rounds: int,
    core: int | None,
    say: Callable[[str], None],
) -> Findings:
    """Measure one server with every driver: these parts of `PARTS`.

    :param core: where further servers run
    """
    events = persisted(EVENTS)
    size = anyio.run(makers.entry_size, server, drivers[0])
    measures: list[list[Measurement]] = []
    if WRITING in parts:
        measures += writes.measurements(server, drivers, events, size)
    if READING in parts:
        measures += reading.measurements(server, drivers, events)
    if MAINTENANCE in parts:
        measures += maintaining.measurements(server, drivers, events)
    bystanders = Bystanders(server)
    samples = play(measures, rounds=rounds, say=say)
    if CLUSTER in parts:
        # It comes after the rest, which its nodes would disturb.
        with running_cluster(server.program, core) as cluster:
            measures = growing.measurements(server, cluster, drivers, events)
            samples.found.update(play(measures, rounds=rounds, say=say).found)
    share = bystanders.share()
    if READING in parts:
        say("the memory of workers")
        samples.add(bars.MEMORY, anyio.run(reading.measure_memory, server, drivers, events))
    if MAINTENANCE in parts:
        say("the memory of clients")
        samples.add(bars.CLIENT, anyio.run(clients.measure, server, drivers, events))
    if SIZING in parts:
        samples.add(bars.BYTES, anyio.run(sizing.measure, server, drivers[0], say))
    return Findings(
        server=server.name,
        version=server.version,
        parts=[part for part in PARTS if part in parts],
        entry_size=size,
        samples=samples,
        queued=_queued(server, drivers, events) if WRITING in parts else {},
        bystanders=share,
    )


def _queued(server: RunningServer, drivers: Sequence[str], events: list[PersistedEvent]) -> dict[str, QueuedRecord]:
    return {driver: memory.measure(server, driver, events[:QUEUED]) for driver in drivers}
