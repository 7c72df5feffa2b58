"""Making retention physical: old entries leave the server, unless a consumer group still needs them."""

import logging
from dataclasses import dataclass, replace

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import BACKEND, HeldBack, StreamCompaction, StreamsCompactionReport
from papyra_streams.ports import Abandonment, Obstacle, StreamStore, TrimOutcome

from . import forecast
from .clock import Clock
from .cutting import Cutting

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
        self._cutting = Cutting(store, keys, policy, clock)
        self._approximate = approximate
        self._silence_ms = None if abandoned_after is None else round(abandoned_after * 1000)

    async def run(self, *, dry: bool = False) -> StreamsCompactionReport:
        """Trim every stream; what a read returns stays, and what a group has yet to get or to acknowledge.

        :param dry: only tell what would go, which has the server count it
        """
        streams = tuple([each for kind in KINDS for each in await self._compact(kind, dry=dry)])
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

    async def _compact(self, kind: Kind, *, dry: bool) -> list[StreamCompaction]:
        before = {partition: await self._measure(partition) for partition in self._keys.partitions_of(kind)}
        cuts = await self._cutting.find(kind, records=sum(size.records for size in before.values()))
        return [await self._cut(partition, size, cuts.get(partition), dry=dry) for partition, size in before.items()]

    async def _cut(
        self, partition: Partition, before: _Size, keep_from: EntryId | None, *, dry: bool
    ) -> StreamCompaction:
        stream = self._keys.stream(partition)
        if keep_from is None:
            outcome, after = TrimOutcome(removed=0, obstacle=None), before
        elif dry:
            outcome = await forecast.trim(self._store, stream, keep_from, self._abandonment(partition))
            after = _left(before, outcome.removed)
        else:
            outcome = await self._trim(partition, keep_from)
            after = await self._measure(partition)
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

    async def _trim(self, partition: Partition, keep_from: EntryId) -> TrimOutcome:
        """Go step by step, between which others are served; each finds out anew what the groups need."""
        removed, abandoned = 0, frozenset[str]()
        while True:
            step = await self._store.trim(
                self._keys.stream(partition),
                keep_from=keep_from,
                approximate=self._approximate,
                abandonment=self._abandonment(partition),
            )
            removed += step.removed
            abandoned |= step.abandoned
            if not step.is_unfinished:
                return replace(step, removed=removed, abandoned=abandoned)

    def _abandonment(self, partition: Partition) -> Abandonment | None:
        if self._silence_ms is None:
            return None
        return Abandonment(after_ms=self._silence_ms, notes=self._keys.unattended(partition))

    async def _measure(self, partition: Partition) -> _Size:
        stream = self._keys.stream(partition)
        return _Size(await self._store.length(stream), await self._store.memory(stream))


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
