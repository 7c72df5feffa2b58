"""Making retention physical: old entries leave the server, unless a consumer group still needs them."""

import logging
from collections.abc import AsyncIterable

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.records import Record, read
from papyra_streams.domain.reports import BACKEND, HeldBack, StreamsCompactionReport
from papyra_streams.domain.retention import RetentionWalk
from papyra_streams.ports import Obstacle, StreamStore

from .clock import Clock
from .history import newest_first

logger = logging.getLogger("papyra_streams")


class Compaction:
    """Removes what retention no longer shows."""

    def __init__(
        self, store: StreamStore, keys: Keyspace, policy: RetentionPolicy, clock: Clock, *, approximate: bool
    ) -> None:
        self._store = store
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._approximate = approximate

    async def run(self) -> StreamsCompactionReport:
        """Trim every stream; what a read returns stays, and what a group has yet to get or to acknowledge."""
        records, size = await self._measure()
        obstacles = [obstacle for kind in KINDS if (obstacle := await self._compact(kind))]
        for held in obstacles:
            logger.warning(
                "The group %r keeps entries of %s from being removed: it has yet to acknowledge %s."
                " Where nobody reads it any more, remove it: XGROUP DESTROY %s %s",
                *(held.group, held.stream, held.needs, held.stream, held.group),
            )
        records_left, size_left = await self._measure()
        return StreamsCompactionReport(
            backend=BACKEND,
            before_records=records,
            after_records=records_left,
            before_bytes=size,
            after_bytes=size_left,
            held_back=tuple(HeldBack(stream=o.stream, group=o.group, needs=str(o.needs)) for o in obstacles),
        )

    async def _compact(self, kind: Kind) -> Obstacle | None:
        keep_from = await self._oldest_shown(kind)
        if keep_from is None:
            return None
        while True:
            outcome = await self._store.trim(
                self._keys.stream(kind), keep_from=keep_from, approximate=self._approximate
            )
            # An approximate trim stops after a bounded effort, so that the server is not held up.
            if not outcome.removed or not self._approximate:
                return outcome.obstacle

    async def _oldest_shown(self, kind: Kind) -> EntryId | None:
        """Find where the shown records begin, or None where retention hides nothing."""
        async with newest_first(self._store, self._keys.stream(kind), at_most=None) as entries:
            return await self._keep_from(kind, entries)

    async def _keep_from(self, kind: Kind, entries: AsyncIterable[Entry]) -> EntryId | None:
        walk = RetentionWalk(self._policy, self._clock())
        shown: EntryId | None = None
        newest: EntryId | None = None
        hides = False
        async for entry in entries:
            newest = newest or entry.id
            record = read(kind, entry)
            if not isinstance(record, Record):
                continue
            if walk.shows(record):
                shown = record.id
            else:
                hides = True
            if walk.over:
                return shown or newest.successor()
        return (shown or newest.successor()) if hides and newest else None

    async def _measure(self) -> tuple[int, int | None]:
        records, size = 0, 0
        known = True
        for kind in KINDS:
            stream = self._keys.stream(kind)
            records += await self._store.length(stream)
            memory = await self._store.memory(stream)
            known = known and memory is not None
            size += memory or 0
        return records, size if known else None
