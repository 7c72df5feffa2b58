"""Making retention physical: old entries leave the server, unless a consumer group still needs them."""

import logging
from collections.abc import AsyncIterable
from dataclasses import dataclass, replace

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import Record, Unreadable, is_epoch_time, read
from papyra_streams.domain.reports import BACKEND, HeldBack, StreamCompaction, StreamsCompactionReport
from papyra_streams.domain.retention import Horizon, RetentionWalk, horizon
from papyra_streams.ports import Abandonment, Obstacle, StreamStore, TrimOutcome

from . import forecast
from .clock import Clock
from .history import FIRST_PAGE, newest_first, page_behind

logger = logging.getLogger("papyra_streams")


@dataclass(frozen=True, slots=True)
class _Size:
    records: int
    memory: int | None


class Compaction:
    """Removes what retention no longer shows."""

    def __init__(
        self,
        store: StreamStore,
        keys: Keyspace,
        policy: RetentionPolicy,
        clock: Clock,
        *,
        approximate: bool,
        abandoned_after: float | None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._approximate = approximate
        self._silence_ms = None if abandoned_after is None else round(abandoned_after * 1000)

    async def run(self, *, dry: bool = False) -> StreamsCompactionReport:
        """Trim every stream; what a read returns stays, and what a group has yet to get or to acknowledge.

        :param dry: only tell what would go, which has the server count it
        """
        streams = tuple([await self._compact(kind, dry=dry) for kind in KINDS])
        if not dry:
            for each in streams:
                _log(each)
        memory_known = all(each.before_bytes is not None for each in streams)
        return StreamsCompactionReport(
            backend=BACKEND,
            before_records=sum(each.before_records for each in streams),
            after_records=sum(each.after_records for each in streams),
            before_bytes=sum(each.before_bytes or 0 for each in streams) if memory_known else None,
            after_bytes=sum(each.after_bytes or 0 for each in streams) if memory_known else None,
            streams=streams,
            dry_run=dry,
        )

    async def _compact(self, kind: Kind, *, dry: bool) -> StreamCompaction:
        stream = self._keys.stream(Partition(kind))
        before = await self._measure(stream)
        keep_from = await self._keep_from(kind, before.records)
        if keep_from is None:
            outcome, after = TrimOutcome(removed=0, obstacle=None), before
        elif dry:
            outcome = await forecast.trim(self._store, stream, keep_from, self._abandonment(kind))
            after = _left(before, outcome.removed)
        else:
            outcome = await self._trim(kind, keep_from)
            after = await self._measure(stream)
        return StreamCompaction(
            stream=stream,
            before_records=before.records,
            after_records=after.records,
            before_bytes=before.memory,
            after_bytes=after.memory,
            removed_records=outcome.removed,
            held_back=_held_back(outcome.obstacle) if outcome.obstacle else None,
            abandoned=tuple(sorted(outcome.abandoned)),
        )

    async def _trim(self, kind: Kind, keep_from: EntryId) -> TrimOutcome:
        """Go step by step, between which others are served; each finds out anew what the groups need."""
        removed, abandoned = 0, frozenset[str]()
        while True:
            step = await self._store.trim(
                self._keys.stream(Partition(kind)),
                keep_from=keep_from,
                approximate=self._approximate,
                abandonment=self._abandonment(kind),
            )
            removed += step.removed
            abandoned |= step.abandoned
            if not step.is_unfinished:
                return replace(step, removed=removed, abandoned=abandoned)

    def _abandonment(self, kind: Kind) -> Abandonment | None:
        if self._silence_ms is None:
            return None
        return Abandonment(after_ms=self._silence_ms, notes=self._keys.unattended(Partition(kind)))

    async def _measure(self, stream: str) -> _Size:
        return _Size(await self._store.length(stream), await self._store.memory(stream))

    # -- where to cut

    async def _keep_from(self, kind: Kind, records: int) -> EntryId | None:
        """Find where begins what retention does not hide, or None where it hides nothing."""
        policy = self._policy
        counts = policy.max_total_bytes is not None or (policy.max_records or records) < records
        if not counts and policy.max_age_seconds is None:
            return None
        now = await self._now()
        past = horizon(policy, now)
        first = await self._store.oldest(self._keys.stream(Partition(kind)), count=1)
        if not first:
            return None
        # Ids that are no times say nothing of how old an entry is.
        if past and not counts and is_epoch_time(first[0].id.seconds):
            keep_from = await self._oldest_after(kind, past)
        else:
            async with newest_first(
                self._store, self._keys.stream(Partition(kind)), at_most=None, page=FIRST_PAGE
            ) as entries:
                keep_from = await self._oldest_before_end(kind, entries, now)
        return keep_from if keep_from > first[0].id else None

    async def _now(self) -> float:
        """Return the time; where the clocks of this system and the server differ, only what is old by both goes."""
        if self._policy.max_age_seconds is None:
            return self._clock()
        return min(self._clock(), await self._store.clock_ms() / 1000)

    async def _oldest_after(self, kind: Kind, past: Horizon) -> EntryId:
        """Go forward from the first entry that is not surely too old: few of those behind it are."""
        keep_from, count, stream = past.first_id, FIRST_PAGE, self._keys.stream(Partition(kind))
        while page := await self._store.oldest(stream, count=count, after=keep_from.predecessor()):
            for entry in page:
                result = read(kind, entry)
                hidden = past.hides_unreadable(result.id) if isinstance(result, Unreadable) else past.hides(result)
                if not hidden:
                    return entry.id
            if page[-1].id.successor() == page[-1].id:
                # Nothing comes after the largest id, which is its own successor.
                break
            # What is written from now on is kept.
            keep_from, count = page[-1].id.successor(), page_behind(page)
        return keep_from

    async def _oldest_before_end(self, kind: Kind, entries: AsyncIterable[Entry], now: float) -> EntryId:
        walk = RetentionWalk(self._policy, now)
        concerned: EntryId | None = None
        newest: EntryId | None = None
        async for entry in entries:
            newest = newest or entry.id
            result = read(kind, entry)
            if walk.shows(result) if isinstance(result, Record) else walk.concerns(result):
                concerned = entry.id
            if walk.over:
                break
        if concerned:
            return concerned
        return newest.successor() if newest else EntryId(0, 0)


def _left(before: _Size, removed: int) -> _Size:
    records = before.records - removed
    share = records / before.records if before.records else 1.0
    return _Size(records, None if before.memory is None else round(before.memory * share))


def _held_back(obstacle: Obstacle) -> HeldBack:
    return HeldBack(
        stream=obstacle.stream,
        group=obstacle.group,
        needs=str(obstacle.needs),
        consumer=obstacle.consumer,
        age=obstacle.age_ms / 1000,
    )


def _log(done: StreamCompaction) -> None:
    if held := done.held_back:
        logger.warning(
            "The group %r keeps entries of %s from being removed: it has yet to acknowledge %s."
            " Where nobody reads it any more, remove it: XGROUP DESTROY %s %s",
            *(held.group, held.stream, held.needs, held.stream, held.group),
        )
    for group in done.abandoned:
        logger.warning(
            "Entries of %s were removed that the group %r had yet to be given or to acknowledge: nobody was heard of in"
            " it for longer than abandoned_after.",
            *(done.stream, group),
        )
