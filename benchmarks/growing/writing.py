"""Writing by several backends at once, here and there by turns: what disturbs the machine is to disturb all alike."""

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from itertools import cycle, islice

import anyio
from papyra.persistence.models import PersistedEvent

from benchmarks import bars
from benchmarks.contenders import PREFIX
from benchmarks.rounds import Found, Quantities, turned
from benchmarks.servers import Place
from benchmarks.writing import RecordsMissing, warm_up
from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
from papyra_streams_contract.wire import Wire

from .spread import serving, streams

FULLEST = "fullest"
TURNS = 8
MANY = 24_000
TASKS = 3600
CALLS = 1200
_WARM_UP = 50
_RECORDS = "records"

Backends = Sequence[RedisStreamsPersistence]

Work = Callable[[Backends, Sequence[PersistedEvent]], Awaitable[int]]
"""Divides records among backends, and returns how many it has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Actor systems, each with a backend of its own, and where their streams are."""

    name: str
    place: Place
    systems: Sequence[str]
    partitions: int = 1

    def build(self, driver: str) -> list[RedisStreamsPersistence]:
        """Build the backends, their other settings as they are by default."""
        return [
            RedisStreamsPersistence(
                RedisStreamsConfig(
                    url=self.place.url, prefix=PREFIX, system_id=system, driver=driver, partitions=self.partitions
                )
            )
            for system in self.systems
        ]

    async def stored(self) -> list[int]:
        """Count the entries on each node."""
        counts = [0 for _ in self.place.nodes]
        async with aclosing(Wire(self.place.nodes[0].endpoint)) as wire:
            for stream in (stream for system in self.systems for stream in streams(system, self.partitions)):
                counts[serving(self.place.nodes, stream)] += await wire.number("XLEN", stream)
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A contender whose backends are connected, and what it had stored by then."""

    contender: Contender
    backends: Backends
    before: Sequence[int]
    turns: list[Quantities] = field(default_factory=list)


async def measure(contenders: Sequence[Contender], driver: str, work: Work, events: Sequence[PersistedEvent]) -> Found:
    """Let the contenders write by turns, `TURNS` times, and take the medians.

    ``rate`` -- records a second, of all systems in sum
    ``busiest CPU`` -- the share of the time for which the busiest node had a processor
    ``per CPU second`` -- records for each second of that
    ``per client's CPU second`` -- the same for the client, where other processes do not count
    ``fullest`` -- the share of the records that is on the fullest node
    """
    for contender in contenders:
        for node in contender.place.nodes:
            node.empty()
    async with AsyncExitStack() as stack:
        opened = [await _open(stack, contender, driver, events) for contender in contenders]
        for number in range(TURNS):
            for each in turned(opened, number):
                each.turns.append(await _turn(each, work, events))
        return {each.contender.name: _medians(each.turns) | {FULLEST: await _fullest(each)} for each in opened}


async def many(backends: Backends, events: Sequence[PersistedEvent]) -> int:
    """Let each backend write its share of the records in one `record_many`."""
    share = MANY // len(backends)
    async with anyio.create_task_group() as tasks:
        for backend in backends:
            tasks.start_soon(backend.record_many, islice(cycle(events), share))
    return share * len(backends)


async def singly(backends: Backends, events: Sequence[PersistedEvent]) -> int:
    """Start a task for each record, for one backend after another."""
    async with anyio.create_task_group() as tasks:
        for event, backend in zip(events[:TASKS], cycle(backends), strict=False):
            tasks.start_soon(backend.record_event, event)
    return len(events[:TASKS])


async def one_by_one(backends: Backends, events: Sequence[PersistedEvent]) -> int:
    """Let each backend record its share of the events, each after the one before."""

    async def record(backend: RedisStreamsPersistence) -> None:
        for event in events[:share]:
            await backend.record_event(event)

    share = CALLS // len(backends)
    async with anyio.create_task_group() as tasks:
        for backend in backends:
            tasks.start_soon(record, backend)
    return share * len(backends)


async def _open(stack: AsyncExitStack, contender: Contender, driver: str, events: Sequence[PersistedEvent]) -> _Opened:
    backends = [await stack.enter_async_context(aclosing(each)) for each in contender.build(driver)]
    async with anyio.create_task_group() as tasks:
        for backend in backends:
            tasks.start_soon(warm_up, backend, list(events[:_WARM_UP]))
    return _Opened(contender=contender, backends=backends, before=await contender.stored())


async def _turn(opened: _Opened, work: Work, events: Sequence[PersistedEvent]) -> Quantities:
    gc.collect()
    nodes = opened.contender.place.nodes
    processors = [node.cpu_seconds for node in nodes]
    begun, own = time.perf_counter(), time.process_time()
    count = await work(opened.backends, events)
    seconds, own = time.perf_counter() - begun, time.process_time() - own
    busiest = max(node.cpu_seconds - before for node, before in zip(nodes, processors, strict=True))
    return {
        _RECORDS: count,
        "rate": count / seconds,
        bars.BUSIEST: busiest / seconds,
        bars.PER_CPU_SECOND: count / busiest,
        bars.PER_CLIENT_SECOND: count / own,
    }


def _medians(turns: Sequence[Quantities]) -> Quantities:
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0] if name != _RECORDS}


async def _fullest(opened: _Opened) -> float:
    """Check that everything was stored.

    :raises RecordsMissing: if it was not
    """
    written = sum(turn[_RECORDS] for turn in opened.turns)
    counts = [after - before for before, after in zip(opened.before, await opened.contender.stored(), strict=True)]
    if sum(counts) != written:
        raise RecordsMissing(
            f"{written:.0f} records were written, and {opened.contender.name} has {sum(counts)} of them."
        )
    return max(counts) / sum(counts)
