"""Reading through consumer groups, as Papyra's API has it."""

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import anyio

from papyra_streams.config import RedisConsumerGroupConfig
from papyra_streams.domain.arguments import is_whole
from papyra_streams.domain.entries import Entry, EntryId, check_start
from papyra_streams.domain.groups import NOTHING_PENDING, PendingSummary, RedisStreamEntry
from papyra_streams.domain.identifiers import PartitionedId, by_partition, parse_ids, shown
from papyra_streams.domain.keys import Keyspace, check_name
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import Record, Unreadable, read
from papyra_streams.errors import GroupExists, GroupMissing, InvalidValue, StreamsError, Unavailable
from papyra_streams.ports import GroupPort, PendingState

from .metrics import StreamsMetrics

logger = logging.getLogger("papyra_streams")

# A wait without limit is made of waits this long.
_LONG_BLOCK_MS = 60_000
# Of several partitions one is waited for at a time: how long it may keep the others waiting.
_TURN_MS = 50


class _Who(NamedTuple):
    """A consumer of a group."""

    kind: Kind
    group: str
    consumer: str


_Bad = defaultdict[Partition, list[Unreadable]]


@dataclass(slots=True)
class _Left:
    """What the server gave to a consumer and was not handed on yet, or not acknowledged.

    Its caller may be cancelled before that.
    """

    good: list[RedisStreamEntry] = field(default_factory=list)
    bad: _Bad = field(default_factory=lambda: defaultdict(list))

    def add(self, other: "_Left") -> None:
        """Take what another one has."""
        self.good += other.good
        for partition, entries in other.bad.items():
            self.bad[partition] += entries


class Consuming:
    """Hands entries to consumers, each readable one at least once; an unreadable one is never left pending."""

    def __init__(self, store: GroupPort, keys: Keyspace, metrics: StreamsMetrics) -> None:
        self._store = store
        self._keys = keys
        self._metrics = metrics
        self._turns = {kind: deque(keys.partitions_of(kind)) for kind in KINDS}
        self._left: defaultdict[_Who, _Left] = defaultdict(_Left)
        # What others gave beside it was handed on first.
        self._owed: dict[_Who, StreamsError] = {}

    async def ensure_group(self, kind: Kind, group: str, start_id: str) -> None:
        """Create a group unless it is there; a group that is there keeps its position."""
        check_name("group", group)
        check_start(start_id)
        for partition in self._keys.partitions_of(kind):
            await self._ensure_group(partition, group, start_id)

    async def _ensure_group(self, partition: Partition, group: str, start_id: str) -> None:
        try:
            await self._store.create_group(self._keys.stream(partition), group, start=start_id)
        except GroupExists:
            return

    # -- reading

    async def consume(self, kind: Kind, cfg: RedisConsumerGroupConfig, read_id: str) -> tuple[RedisStreamEntry, ...]:
        """Give the consumer up to ``count`` readable entries, waiting for the first of them as the settings say."""
        if not isinstance(cfg, RedisConsumerGroupConfig):
            raise InvalidValue(f"`cfg` must be a RedisConsumerGroupConfig, not {cfg!r}.")
        if read_id != ">":
            after = PartitionedId.parse(read_id, self._keys.partitions_of(kind))
            return await self._own_pending(kind, cfg, after)
        who = _Who(kind, cfg.group, cfg.consumer)
        deadline = anyio.current_time() + (cfg.block_ms or 0) / 1000
        while True:
            if left := await self._take_left(who, cfg.count):
                return left
            if owed := self._owed.pop(who, None):
                raise owed
            # Where every entry was unreadable there may be more behind them: an empty answer means that there are none.
            if not await self._read_new(who, cfg, deadline):
                return ()

    async def _take_left(self, who: _Who, count: int) -> tuple[RedisStreamEntry, ...]:
        left = self._left.pop(who, _Left())
        try:
            await self._forget(who.group, left.bad)
            taken, left.good = left.good[:count], left.good[count:]
        finally:
            if left.good or left.bad:
                self._left[who].add(left)
        return tuple(taken)

    async def _read_new(self, who: _Who, cfg: RedisConsumerGroupConfig, deadline: float) -> bool:
        """Read what nobody was given yet; return whether there was something, or there is time to look again.

        Of several partitions another one is first each time. It is set aside: whoever is cancelled before all of them
        were read gets it with the next call.
        """
        turns = self._turns[who.kind]
        turns.rotate(-1)
        block_ms = _LONG_BLOCK_MS if cfg.block_ms is None else max(0, round((deadline - anyio.current_time()) * 1000))
        if len(turns) == 1:
            return await self._set_aside(who, turns[0], cfg, cfg.count, block_ms) > 0 or cfg.block_ms is None
        missing = cfg.count
        failure: StreamsError | None = None
        for partition in tuple(turns):
            try:
                missing -= await self._set_aside(who, partition, cfg, missing, 0) if missing else 0
            except StreamsError as error:
                failure = error
        if failure and missing == cfg.count:
            raise failure
        # What others gave is the caller's by now. Of a node that is away, which gave nothing, these need not hear.
        if failure and not isinstance(failure, Unavailable):
            self._owed[who] = failure
        if missing == cfg.count and block_ms:
            await self._set_aside(who, turns[0], cfg, missing, min(block_ms, _TURN_MS))
        return missing < cfg.count or block_ms > 0

    async def _set_aside(
        self, who: _Who, partition: Partition, cfg: RedisConsumerGroupConfig, count: int, block_ms: int
    ) -> int:
        entries = await self._read(partition, cfg, ">", count, block_ms)
        if entries:
            self._left[who].add(_divided(partition, entries))
        return len(entries)

    async def _own_pending(
        self, kind: Kind, cfg: RedisConsumerGroupConfig, after: PartitionedId
    ) -> tuple[RedisStreamEntry, ...]:
        while True:
            entries: list[tuple[PartitionedId, Entry]] = []
            for partition in self._keys.partitions_of(kind):
                found = await self._read(partition, cfg, str(after.begin_in(partition)), cfg.count, 0)
                entries += [(PartitionedId(entry.id, partition.number), entry) for entry in found]
            first = sorted(entries, key=itemgetter(0))[: cfg.count]
            page = _Left()
            for number, some in groupby(first, key=lambda placed: placed[0].number):
                page.add(_divided(Partition(kind, number), [entry for _, entry in some]))
            await self._forget(cfg.group, page.bad)
            if page.good or not entries:
                return tuple(page.good)

    async def _read(
        self, partition: Partition, cfg: RedisConsumerGroupConfig, after: str, count: int, block_ms: int
    ) -> list[Entry]:
        stream = self._keys.stream(partition)
        try:
            return await self._store.read_group(
                stream, cfg.group, cfg.consumer, count=count, after=after, block_ms=block_ms
            )
        except GroupMissing:
            if not cfg.ensure_group:
                raise
        await self._ensure_group(partition, cfg.group, cfg.start_id)
        return await self._store.read_group(
            stream, cfg.group, cfg.consumer, count=count, after=after, block_ms=block_ms
        )

    # -- what was given

    async def claim(
        self, kind: Kind, group: str, consumer: str, min_idle_ms: int, entry_ids: Sequence[str]
    ) -> list[RedisStreamEntry]:
        """Give pending entries that nobody has touched for a while to another consumer; return the readable ones."""
        check_name("group", group)
        check_name("consumer", consumer)
        if not is_whole(min_idle_ms) or min_idle_ms < 0:
            raise InvalidValue(f"`min_idle_ms` must be a number of milliseconds from 0, not {min_idle_ms!r}.")
        partitions = self._keys.partitions_of(kind)
        wanted = parse_ids(entry_ids, partitions)
        claimed = _Left()
        failure: StreamsError | None = None
        for partition, ids in by_partition(wanted, partitions).items():
            stream = self._keys.stream(partition)
            try:
                entries = await self._store.claim(stream, group, consumer, min_idle_ms=min_idle_ms, ids=ids)
            except StreamsError as error:
                # What was claimed elsewhere is the caller's by now, and not to be lost for it.
                failure = error
                continue
            claimed.add(_divided(partition, entries))
        if failure and not (claimed.good or claimed.bad):
            raise failure
        await self._forget(group, claimed.bad)
        places = {str(place): number for number, place in enumerate(wanted)}
        return sorted(claimed.good, key=lambda entry: places[entry.id])

    async def acknowledge(self, kind: Kind, group: str, ids: Sequence[str]) -> int:
        """Take entries off the group's pending list, and return how many were on it."""
        check_name("group", group)
        partitions = self._keys.partitions_of(kind)
        divided = by_partition(parse_ids(ids, partitions), partitions)
        return sum(
            [
                await self._store.acknowledge(self._keys.stream(partition), group, some)
                for partition, some in divided.items()
            ]
        )

    async def pending(self, kind: Kind, group: str) -> PendingSummary:
        """Summarise what the group has not acknowledged; a group that is not there has nothing pending."""
        check_name("group", group)
        states: dict[Partition, PendingState] = {}
        for partition in self._keys.partitions_of(kind):
            try:
                states[partition] = await self._store.pending(self._keys.stream(partition), group)
            except GroupMissing:
                continue
        return _summary(states) if states else NOTHING_PENDING

    async def _forget(self, group: str, bad: _Bad) -> None:
        """Acknowledge what cannot be read: it stays in the stream, but redelivering would never make it readable.

        What is acknowledged is taken out of ``bad``.
        """
        while bad:
            partition, entries = next(iter(bad.items()))
            stream = self._keys.stream(partition)
            await self._store.acknowledge(stream, group, [entry.id for entry in entries])
            del bad[partition]
            self._metrics.unreadable_entries += len(entries)
            for entry in entries:
                logger.warning(
                    "Entry %s of %s cannot be read (%s); group %r will not get it.",
                    *(entry.id, stream, entry.reason, group),
                )


def _divided(partition: Partition, entries: Sequence[Entry]) -> _Left:
    kind, number = partition.kind, partition.number
    results = [read(kind, entry) for entry in entries]
    divided = _Left([RedisStreamEntry(shown(each.id, number), each.row) for each in results if type(each) is Record])
    if len(divided.good) < len(results):
        divided.bad[partition] = [each for each in results if isinstance(each, Unreadable)]
    return divided


def _summary(states: dict[Partition, PendingState]) -> PendingSummary:
    consumers: Counter[str] = Counter()
    for state in states.values():
        consumers.update(state.consumers)
    oldest = _places({partition: state.oldest for partition, state in states.items()})
    newest = _places({partition: state.newest for partition, state in states.items()})
    return PendingSummary(
        count=sum(state.count for state in states.values()),
        min_id=str(min(oldest)) if oldest else None,
        max_id=str(max(newest)) if newest else None,
        consumers=dict(consumers),
    )


def _places(ids: dict[Partition, EntryId | None]) -> list[PartitionedId]:
    return [PartitionedId(each, partition.number) for partition, each in ids.items() if each is not None]
