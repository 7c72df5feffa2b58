"""Looking at what was given up, and putting it back or dropping it."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from papyra_streams.domain.arguments import check_count
from papyra_streams.domain.entries import Entry, EntryId, RawEntry
from papyra_streams.domain.groups import RELEASED, QuarantinedEntry, ReplayReport
from papyra_streams.domain.identifiers import PartitionedId, by_partition, parse_ids
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.quarantine import quarantined
from papyra_streams.domain.records import Unreadable, read
from papyra_streams.errors import InvalidValue
from papyra_streams.ports import QuarantinePort, Replayed

from .history import PAGE
from .merging import merged

_Placed = tuple[PartitionedId, RawEntry]

Mend = Callable[[QuarantinedEntry], bytes | None]
"""Gives an entry new data, or None to leave it as it is."""

# Each is as large as it was.
_ENTRIES_OF_A_PAGE = 50


class Quarantine:
    """Serves the quarantine of each kind: what a recovery moved there, and what groups gave up."""

    def __init__(self, store: QuarantinePort, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys

    async def entries(self, kind: Kind, *, limit: int | None, after: str | None) -> tuple[QuarantinedEntry, ...]:
        """Return the first ``limit`` entries after an id of the quarantine, oldest first."""
        return tuple([entry async for entry in self.each(kind, limit=limit, after=after)])

    async def each(
        self, kind: Kind, *, limit: int | None = None, after: str | None = None
    ) -> AsyncGenerator[QuarantinedEntry, None]:
        """Yield them one by one, a page at a time in memory; left before its end, it must be closed."""
        if limit is not None:
            check_count("limit", limit)
        partitions = self._keys.partitions_of(kind)
        begin = PartitionedId(EntryId(0, 0)) if after is None else PartitionedId.parse(after, partitions)
        page = _ENTRIES_OF_A_PAGE if limit is None else min(_ENTRIES_OF_A_PAGE, limit)
        walks = [self._walk(partition, begin.begin_in(partition), page) for partition in partitions]
        async with aclosing(merged(walks, _place, at_most=limit)) as entries:
            async for place, entry in entries:
                yield quarantined(entry, place.number)

    async def _walk(self, partition: Partition, after: EntryId, count: int) -> AsyncGenerator[_Placed, None]:
        while True:
            page = await self._store.quarantined(self._keys.quarantine(partition), count=count, after=after)
            for entry in page:
                yield PartitionedId(entry.id, partition.number), entry
            if len(page) < count:
                return
            after = page[-1].id

    async def find(self, kind: Kind, wanted: str) -> QuarantinedEntry | None:
        """Return the entry with this id of the quarantine, if it is there."""
        return await self._find(kind, PartitionedId.parse(wanted, self._keys.partitions_of(kind)))

    async def _find(self, kind: Kind, wanted: PartitionedId) -> QuarantinedEntry | None:
        quarantine = self._keys.quarantine(Partition(kind, wanted.number))
        # An entry never changes, it only goes.
        page = await self._store.quarantined(quarantine, count=1, after=wanted.entry.predecessor())
        return quarantined(page[0], wanted.number) if page and page[0].id == wanted.entry else None

    async def replay(self, kind: Kind, ids: Sequence[str], mend: Mend | None) -> ReplayReport:
        """Put entries back, each in a step of its own that takes it out of the quarantine."""
        report = ReplayReport()
        for each in dict.fromkeys(parse_ids(ids, self._keys.partitions_of(kind))):
            report = await self._replay(kind, each, mend, report)
        return report

    async def _replay(self, kind: Kind, wanted: PartitionedId, mend: Mend | None, report: ReplayReport) -> ReplayReport:
        # Which keys a step touches has to be known before it begins.
        entry = await self._find(kind, wanted)
        if entry is None:
            return replace(report, missing=(*report.missing, str(wanted)))
        data = None if mend is None else _mended(kind, entry, mend)
        replayed = await self._put_back(kind, wanted, entry.group, data)
        if replayed is None:
            return replace(report, missing=(*report.missing, str(wanted)))
        if replayed.how == "pending":
            return replace(report, pending=(*report.pending, str(wanted)))
        return replace(report, appended={**report.appended, str(wanted): str(wanted._replace(entry=replayed.id))})

    async def _put_back(self, kind: Kind, wanted: PartitionedId, group: str, data: bytes | None) -> Replayed | None:
        partition = Partition(kind, wanted.number)
        stream, quarantine = self._keys.stream(partition), self._keys.quarantine(partition)
        state = self._keys.group(partition, "state", group) if group else None
        return await self._store.replay(stream, quarantine, wanted.entry, to=RELEASED, state=state, data=data)

    async def drop(self, kind: Kind, ids: Sequence[str]) -> int:
        """Remove entries from the quarantine for good; return how many there were."""
        partitions = self._keys.partitions_of(kind)
        divided = by_partition(dict.fromkeys(parse_ids(ids, partitions)), partitions)
        return sum([await self._drop(partition, wanted) for partition, wanted in divided.items()])

    async def _drop(self, partition: Partition, wanted: Sequence[EntryId]) -> int:
        steps = [wanted[first : first + PAGE] for first in range(0, len(wanted), PAGE)]
        return sum([await self._store.drop(self._keys.quarantine(partition), step) for step in steps])


def _place(placed: _Placed) -> PartitionedId:
    return placed[0]


def _mended(kind: Kind, entry: QuarantinedEntry, mend: Mend) -> bytes | None:
    data = mend(entry)
    if data is None:
        return None
    if not isinstance(data, bytes):
        raise InvalidValue(f"`mend` must return bytes, or None, not {type(data).__name__}.")
    result = read(kind, Entry(EntryId(0, 0), {b"data": data}))
    if isinstance(result, Unreadable):
        raise InvalidValue(
            f"The new data of {entry.id} would be skipped by reads as well: {result.reason}."
            f" Give a JSON object with the `kind` {kind.record!r} and a `timestamp`."
        )
    return data
