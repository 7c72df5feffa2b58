"""Reading through consumer groups, as Papyra's API has it."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from papyra_streams.config import RedisConsumerGroupConfig
from papyra_streams.domain.arguments import is_whole
from papyra_streams.domain.entries import Entry, EntryId, check_start
from papyra_streams.domain.groups import NOTHING_PENDING, PendingSummary, RedisStreamEntry
from papyra_streams.domain.identifiers import parse_ids
from papyra_streams.domain.keys import Keyspace, check_name
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import Record, Unreadable, read
from papyra_streams.errors import GroupExists, GroupMissing, InvalidValue
from papyra_streams.ports import GroupPort

from .metrics import StreamsMetrics

logger = logging.getLogger("papyra_streams")

# A wait without limit is made of waits this long.
_LONG_BLOCK_MS = 60_000


@dataclass(slots=True)
class _Left:
    """What the server gave to a consumer and its cancelled caller did not take, or did not live to acknowledge."""

    good: list[RedisStreamEntry] = field(default_factory=list)
    bad: list[Unreadable] = field(default_factory=list)


class Consuming:
    """Hands entries to consumers, each readable one at least once; an unreadable one is never left pending."""

    def __init__(self, store: GroupPort, keys: Keyspace, metrics: StreamsMetrics) -> None:
        self._store = store
        self._keys = keys
        self._metrics = metrics
        self._left: defaultdict[tuple[Kind, str, str], _Left] = defaultdict(_Left)

    async def ensure_group(self, kind: Kind, group: str, start_id: str) -> None:
        """Create a group unless it is there; a group that is there keeps its position."""
        check_name("group", group)
        check_start(start_id)
        try:
            await self._store.create_group(self._keys.stream(Partition(kind)), group, start=start_id)
        except GroupExists:
            return

    async def consume(self, kind: Kind, cfg: RedisConsumerGroupConfig, read_id: str) -> tuple[RedisStreamEntry, ...]:
        """Give the consumer up to ``count`` readable entries, waiting for the first of them as the settings say."""
        if not isinstance(cfg, RedisConsumerGroupConfig):
            raise InvalidValue(f"`cfg` must be a RedisConsumerGroupConfig, not {cfg!r}.")
        if read_id != ">":
            EntryId.parse(read_id)
        who = (kind, cfg.group, cfg.consumer)
        deadline = anyio.current_time() + (cfg.block_ms or 0) / 1000
        while True:
            if read_id == ">" and (left := await self._take_left(who, cfg.count)):
                return left
            entries = await self._read(kind, cfg, read_id, deadline)
            good, bad = _divide(kind, entries)
            if read_id == ">" and bad:
                # Who is cancelled while the bad ones are acknowledged gets the good ones with the next call.
                self._left[who].good += good
                self._left[who].bad += bad
                continue
            await self._forget(kind, cfg.group, bad)
            # Where every entry was unreadable there may be more behind them: an empty answer means that there are none.
            if good or (not entries and not self._waits_on(cfg, read_id)):
                return tuple(good)

    async def _take_left(self, who: tuple[Kind, str, str], count: int) -> tuple[RedisStreamEntry, ...]:
        left = self._left.pop(who, _Left())
        kind, group, _consumer = who
        try:
            await self._forget(kind, group, left.bad)
            left.bad = []
            taken, left.good = left.good[:count], left.good[count:]
        finally:
            if left.good or left.bad:
                self._left[who].good += left.good
                self._left[who].bad += left.bad
        return tuple(taken)

    def _waits_on(self, cfg: RedisConsumerGroupConfig, read_id: str) -> bool:
        return cfg.block_ms is None and read_id == ">"

    async def _read(self, kind: Kind, cfg: RedisConsumerGroupConfig, read_id: str, deadline: float) -> list[Entry]:
        try:
            return await self._read_once(kind, cfg, read_id, deadline)
        except GroupMissing:
            if not cfg.ensure_group:
                raise
        await self.ensure_group(kind, cfg.group, cfg.start_id)
        return await self._read_once(kind, cfg, read_id, deadline)

    async def _read_once(self, kind: Kind, cfg: RedisConsumerGroupConfig, read_id: str, deadline: float) -> list[Entry]:
        left_ms = max(0, round((deadline - anyio.current_time()) * 1000))
        block_ms = _LONG_BLOCK_MS if cfg.block_ms is None else left_ms
        return await self._store.read_group(
            self._keys.stream(Partition(kind)),
            cfg.group,
            cfg.consumer,
            count=cfg.count,
            after=read_id,
            block_ms=block_ms,
        )

    async def claim(
        self, kind: Kind, group: str, consumer: str, min_idle_ms: int, entry_ids: Sequence[str]
    ) -> list[RedisStreamEntry]:
        """Give pending entries that nobody has touched for a while to another consumer; return the readable ones."""
        check_name("group", group)
        check_name("consumer", consumer)
        if not is_whole(min_idle_ms) or min_idle_ms < 0:
            raise InvalidValue(f"`min_idle_ms` must be a number of milliseconds from 0, not {min_idle_ms!r}.")
        claimed = await self._store.claim(
            self._keys.stream(Partition(kind)), group, consumer, min_idle_ms=min_idle_ms, ids=parse_ids(entry_ids)
        )
        good, bad = _divide(kind, claimed)
        await self._forget(kind, group, bad)
        return good

    async def acknowledge(self, kind: Kind, group: str, ids: Sequence[str]) -> int:
        """Take entries off the group's pending list, and return how many were on it."""
        check_name("group", group)
        return await self._store.acknowledge(self._keys.stream(Partition(kind)), group, parse_ids(ids))

    async def pending(self, kind: Kind, group: str) -> PendingSummary:
        """Summarise what the group has not acknowledged; a group that is not there has nothing pending."""
        check_name("group", group)
        try:
            state = await self._store.pending(self._keys.stream(Partition(kind)), group)
        except GroupMissing:
            return NOTHING_PENDING
        return PendingSummary(
            count=state.count,
            min_id=None if state.oldest is None else str(state.oldest),
            max_id=None if state.newest is None else str(state.newest),
            consumers=state.consumers,
        )

    async def _forget(self, kind: Kind, group: str, bad: Sequence[Unreadable]) -> None:
        """Acknowledge what cannot be read: it stays in the stream, but redelivering would never make it readable."""
        if not bad:
            return
        stream = self._keys.stream(Partition(kind))
        await self._store.acknowledge(stream, group, [entry.id for entry in bad])
        self._metrics.unreadable_entries += len(bad)
        for entry in bad:
            logger.warning(
                "Entry %s of %s cannot be read (%s); group %r will not get it.", entry.id, stream, entry.reason, group
            )


def _divide(kind: Kind, entries: Sequence[Entry]) -> tuple[list[RedisStreamEntry], list[Unreadable]]:
    results = [read(kind, entry) for entry in entries]
    good = [RedisStreamEntry(str(result.id), result.row) for result in results if isinstance(result, Record)]
    return good, [result for result in results if isinstance(result, Unreadable)]
