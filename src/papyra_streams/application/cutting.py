"""Where the streams of a kind are to be cut: what lies before is hidden by retention."""

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import Record, Unreadable, is_epoch_time, read
from papyra_streams.domain.retention import Horizon, RetentionWalk, horizon
from papyra_streams.ports import StreamStore

from .clock import Clock
from .history import FIRST_PAGE, newest_first, page_behind


class Cutting:
    """Finds where begins what retention does not hide. It holds for all partitions of a kind together."""

    def __init__(self, store: StreamStore, keys: Keyspace, policy: RetentionPolicy, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._policy = policy
        self._clock = clock

    async def find(self, kind: Kind, *, records: int) -> dict[Partition, EntryId]:
        """Return the first id to keep of each partition in which there is something to remove.

        :param records: how many entries they have, all together
        """
        policy = self._policy
        counts = policy.max_total_bytes is not None or (policy.max_records or records) < records
        if not counts and policy.max_age_seconds is None:
            return {}
        now = await self._now()
        past = horizon(policy, now)
        first = await self._first_ids(kind)
        # Ids that are no times say nothing of how old an entry is.
        if past and not counts and all(is_epoch_time(each.seconds) for each in first.values()):
            cuts = {partition: await self._oldest_after(partition, past) for partition in first}
        else:
            cuts = await self._oldest_before_end(list(first), now)
        return {partition: cut for partition, cut in cuts.items() if cut > first[partition]}

    async def _now(self) -> float:
        """Return the time; where the clocks of this system and the server differ, only what is old by both goes."""
        if self._policy.max_age_seconds is None:
            return self._clock()
        return min(self._clock(), await self._store.clock_ms() / 1000)

    async def _first_ids(self, kind: Kind) -> dict[Partition, EntryId]:
        """Return the oldest id of each partition that has entries."""
        oldest = {
            partition: await self._store.oldest(self._keys.stream(partition), count=1)
            for partition in self._keys.partitions_of(kind)
        }
        return {partition: page[0].id for partition, page in oldest.items() if page}

    async def _oldest_after(self, partition: Partition, past: Horizon) -> EntryId:
        """Go forward from the first entry that is not surely too old: few of those behind it are."""
        keep_from, count, stream = past.first_id, FIRST_PAGE, self._keys.stream(partition)
        while page := await self._store.oldest(stream, count=count, after=keep_from.predecessor()):
            for entry in page:
                result = read(partition.kind, entry)
                hidden = past.hides_unreadable(result.id) if isinstance(result, Unreadable) else past.hides(result)
                if not hidden:
                    return entry.id
            if page[-1].id.successor() == page[-1].id:
                # Nothing comes after the largest id, which is its own successor.
                break
            # What is written from now on is kept.
            keep_from, count = page[-1].id.successor(), page_behind(page)
        return keep_from

    async def _oldest_before_end(self, partitions: list[Partition], now: float) -> dict[Partition, EntryId]:
        """Go backwards through all of them together, as a read does, until nothing older is shown."""
        if not partitions:
            return {}
        walk = RetentionWalk(self._policy, now)
        concerned: dict[Partition, EntryId] = {}
        newest: dict[Partition, EntryId] = {}
        end = EntryId(0, 0)
        streams = [self._keys.stream(partition) for partition in partitions]
        async with newest_first(self._store, streams, at_most=None, page=FIRST_PAGE) as entries:
            async for number, entry in entries:
                partition, end = partitions[number], entry.id
                newest.setdefault(partition, end)
                result = read(partition.kind, entry)
                if walk.shows(result) if isinstance(result, Record) else walk.concerns(result):
                    concerned[partition] = end
                if walk.over:
                    break
        # Where all that was seen is hidden, what is written from now on is kept; what was not seen is before the end.
        behind = {partition: newest[partition].successor() if partition in newest else end for partition in partitions}
        return behind | concerned
