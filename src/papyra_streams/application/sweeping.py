"""One pass over all streams: finding what is wrong, and mending it if that is wanted."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import Findings, OnProgress, Progress, StreamAnomaly, bad_entry, dangling_reference
from papyra_streams.errors import GroupMissing, InvalidValue
from papyra_streams.ports import BadEntry, StreamStore

from .clock import Clock
from .history import PAGE
from .inspection import BadOne, Bounds, Inspected, Inspection

# One step of mending: others need not wait for it for more than a few milliseconds.
_ENTRIES_OF_A_STEP = 100
_BYTES_OF_A_STEP = 256 * 1024


async def tell_nobody(_: Progress) -> None:
    """Tell nobody."""


def on_progress(given: OnProgress | None) -> OnProgress:
    """Return what is to be told; nobody, if nothing is given.

    :raises InvalidValue: if it cannot be awaited
    """
    if given is None:
        return tell_nobody
    if not callable(given) or not any(map(inspect.iscoroutinefunction, (given, type(given).__call__))):
        raise InvalidValue(f"`progress` must be an async function of one Progress, not {given!r}.")
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a pass is to do.

    ``bounds`` -- how far to go in each stream; of each group's pending entries, as many as of entries
    ``mending`` -- what to do with bad entries: nothing, also not with references; to delete, or to quarantine them
    ``report`` -- is told how far it has come, after each page
    """

    bounds: Bounds
    mending: Literal["nothing", "deleting", "quarantining"] = "nothing"
    report: OnProgress = tell_nobody

    @property
    def mends(self) -> bool:
        """Whether anything is to be changed."""
        return self.mending != "nothing"


@dataclass(frozen=True, slots=True)
class Swept:
    """What a pass came to.

    ``found`` -- what was wrong
    ``mended`` -- what of it is mended; what another one mended meanwhile is not among it
    """

    found: Findings
    mended: Findings


class Sweeping:
    """Goes over the streams."""

    def __init__(self, store: StreamStore, keys: Keyspace, inspection: Inspection, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._inspection = inspection
        self._clock = clock

    async def run(self, task: Task, *, limit: int | None) -> Swept:
        """Go over all streams, and the pending lists of their groups.

        :param limit: how many anomalies are kept one by one; None for all
        """
        swept = Swept(Findings(limit), Findings(0))
        for partition in self._keys.all_partitions:
            stream = self._keys.stream(partition)
            total = await self._store.length(stream)
            if task.bounds.entries is not None:
                total = min(total, task.bounds.entries)
            take = partial(self._take, task, swept, partition, total)
            swept.found.examined += await self._inspection.run(partition, task.bounds, take)
            for group in await self._store.groups(stream):
                await self._look_at_pending(task, swept, stream, group.name)
        return swept

    async def _take(self, task: Task, swept: Swept, partition: Partition, total: int, page: Inspected) -> None:
        swept.found.add(bad_entry(self._keys.stream(partition), bad.found) for bad in page.bad)
        if task.mends:
            for step in _steps(page.bad):
                await self._retire(task, swept, partition, step)
        await task.report(
            Progress(
                step="recover" if task.mends else "scan",
                stream=self._keys.stream(partition),
                done=page.examined,
                total=max(total, page.examined),
                found=swept.found.total,
            )
        )

    async def _retire(self, task: Task, swept: Swept, partition: Partition, bad: Sequence[BadOne]) -> None:
        stream = self._keys.stream(partition)
        retired = await self._store.retire(
            stream,
            [BadEntry(each.found.id, each.found.reason) for each in bad],
            quarantine=self._keys.quarantine(partition) if task.mending == "quarantining" else None,
            moment=self._clock(),
        )
        gone = frozenset(retired)
        swept.mended.add(bad_entry(stream, each.found) for each in bad if each.found.id in gone)

    async def _look_at_pending(self, task: Task, swept: Swept, stream: str, group: str) -> None:
        after: EntryId | None = EntryId(0, 0)
        examined = dangling = 0
        while after is not None and not task.bounds.are_reached(examined=examined, good=examined - dangling):
            count = PAGE if task.bounds.entries is None else task.bounds.entries - examined
            try:
                page = await self._store.dangling(stream, group, count=count, after=after, forget=task.mends)
            except GroupMissing:
                # Somebody has removed it, and its references with it.
                return
            gone = list(_references(stream, group, page.ids))
            swept.found.add(gone)
            if task.mends:
                swept.mended.add(gone)
            examined += page.examined
            dangling += len(gone)
            after = page.last


def _references(stream: str, group: str, ids: Iterable[EntryId]) -> Iterator[StreamAnomaly]:
    return (dangling_reference(stream, group, str(each)) for each in ids)


def _steps(bad: Sequence[BadOne]) -> Iterator[list[BadOne]]:
    step: list[BadOne] = []
    size = 0
    for each in bad:
        if step and (len(step) == _ENTRIES_OF_A_STEP or size + each.size > _BYTES_OF_A_STEP):
            yield step
            step, size = [], 0
        step.append(each)
        size += each.size
    if step:
        yield step
