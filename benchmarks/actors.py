"""The pace of an actor system whose actors pass messages at full speed while it emits events."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from papyra import Actor, ActorSystem
from papyra.persistence.base import PersistenceBackend
from papyra.ref import ActorRef

from .events import SYSTEM, OrderShipped, shipped
from .rounds import Found, Quantities, turned

EVENTS_PER_SECOND = 1000
_ACTORS = 8
_MESSAGES = 32
_WARM_UP_SECONDS = 0.2
_TURNS = 4


@dataclass(slots=True)
class _Ring:
    """Actors in a circle, each of which passes every message on to the next."""

    actors: list[ActorRef] = field(default_factory=list)
    passed: int = 0
    emitted: int = 0
    turns: bool = True


class _Passer(Actor):
    def __init__(self, ring: _Ring, place: int) -> None:
        self._ring = ring
        self._next = (place + 1) % _ACTORS

    async def receive(self, message: object) -> None:
        if self._ring.turns:
            self._ring.passed += 1
            await self._ring.actors[self._next].tell(message)


async def measure(builds: dict[str, Callable[[], PersistenceBackend]], seconds: float) -> Found:
    """Run an actor system with each backend, in several turns, for so many seconds in all.

    ``rate`` -- messages a second
    ``events`` -- events emitted a second
    ``kept_up`` -- how many records the backend stored for each event that was emitted
    """
    turns: dict[str, list[Quantities]] = {name: [] for name in builds}
    for number in range(_TURNS):
        for name, build in turned(list(builds.items()), number):
            gc.collect()
            turns[name].append(await _run_system(build(), seconds / _TURNS))
    return {name: _means(found) for name, found in turns.items()}


def _means(turns: list[Quantities]) -> Quantities:
    return {name: statistics.fmean(turn[name] for turn in turns) for name in turns[0]}


async def _run_system(backend: PersistenceBackend, seconds: float) -> Quantities:
    ring = _Ring()
    async with ActorSystem(system_id=SYSTEM, persistence=backend) as system, anyio.create_task_group() as tasks:
        ring.actors += [system.spawn(lambda place=place: _Passer(ring, place)) for place in range(_ACTORS)]  # type: ignore[misc]
        tasks.start_soon(_emit, system, ring)
        for number in range(_MESSAGES):
            await ring.actors[number % _ACTORS].tell(number)
        await anyio.sleep(_WARM_UP_SECONDS)
        quantities = await _count(ring, backend, seconds)
        ring.turns = False
        # Messages that are still on their way when the system closes would become dead letters.
        await anyio.wait_all_tasks_blocked()
    return quantities


async def _count(ring: _Ring, backend: PersistenceBackend, seconds: float) -> Quantities:
    begun, passed, emitted = time.perf_counter(), ring.passed, ring.emitted
    stored = backend.metrics.records_written
    await anyio.sleep(seconds)
    elapsed = time.perf_counter() - begun
    emitted = ring.emitted - emitted
    return {
        "rate": (ring.passed - passed) / elapsed,
        "events": emitted / elapsed,
        "kept_up": (backend.metrics.records_written - stored) / emitted,
    }


async def _emit(system: ActorSystem, ring: _Ring) -> None:
    events: list[OrderShipped] = [shipped(number) for number in range(EVENTS_PER_SECOND)]
    begun = time.perf_counter()
    while ring.turns:
        due = int((time.perf_counter() - begun) * EVENTS_PER_SECOND)
        for number in range(ring.emitted, due):
            system._emit(events[number % EVENTS_PER_SECOND])  # noqa: SLF001 -- where all that happens in a system is emitted
        ring.emitted = due
        await anyio.sleep(1 / EVENTS_PER_SECOND)
