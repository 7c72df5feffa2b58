"""Going through a stream for what reads skip."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import Record, Unreadable, read
from papyra_streams.domain.retention import RetentionWalk, is_limited
from papyra_streams.garbage import uncollected
from papyra_streams.ports import ReadPort

from .clock import Clock
from .history import FIRST_PAGE, page_behind


@dataclass(frozen=True, slots=True)
class BadOne:
    """An entry that reads skip, and how many bytes it has."""

    found: Unreadable
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One page, from its newest entry: how many entries were examined in all so far, and the bad ones of the page."""

    examined: int
    bad: Sequence[BadOne]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far to go: for so many entries, or until so many good ones were seen; None for all there are."""

    entries: int | None = None
    good: int | None = None

    def are_reached(self, *, examined: int, good: int) -> bool:
        """Tell whether so many are enough."""
        return (self.entries is not None and examined >= self.entries) or (self.good is not None and good >= self.good)


@dataclass(slots=True)
class _Ahead:
    """A page that is on its way while another one is examined."""

    entries: list[Entry] = field(default_factory=list)
    error: Exception | None = None

    def take(self) -> list[Entry]:
        if self.error is not None:
            raise self.error
        return self.entries


class _Reader:
    """Decides entry by entry, from the newest, until there is nothing to see any more."""

    def __init__(self, kind: Kind, policy: RetentionPolicy, now: float, bounds: Bounds) -> None:
        self._kind = kind
        self._walk = RetentionWalk(policy, now)
        self._is_limited = is_limited(policy)
        self._bounds = bounds
        self._good = 0
        self._page = FIRST_PAGE
        self._largest = 0
        self.examined = 0
        self.over = False

    def next_count(self, entries: Sequence[Entry] = ()) -> int:
        """Return how many entries to read behind these, of which none is examined yet; 0 if that is not wanted."""
        if entries:
            self._page = page_behind(entries, self._largest)
        if self._bounds.entries is None:
            return self._page
        return min(self._page, self._bounds.entries - self.examined - len(entries))

    def examine(self, entries: Sequence[Entry]) -> list[BadOne]:
        """Return the bad ones that matter."""
        bad: list[BadOne] = []
        # What is asked for each entry stands in names of this function: a scan of millions is worth the while.
        kind, walk, is_limited, wanted = self._kind, self._walk, self._is_limited, self._bounds.good
        examined = largest = 0
        good = self._good
        with uncollected():
            for entry in entries:
                examined += 1
                result = read(kind, entry)
                if type(result) is Record:
                    good += 1
                    largest = max(largest, result.size)
                    if is_limited:
                        walk.shows(result)
                elif isinstance(result, Unreadable):
                    largest = max(largest, entry.size)
                    if walk.concerns(result):
                        bad.append(BadOne(result, entry.size))
                if walk.over or good == wanted:
                    self.over = True
                    break
        self.examined += examined
        self._good, self._largest = good, largest
        return bad


class Inspection:
    """Reads streams from the newest entry, and hands on, page by page, the bad entries that retention does not hide."""

    def __init__(self, store: ReadPort, keys: Keyspace, policy: RetentionPolicy, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._policy = policy
        self._clock = clock

    async def run(self, partition: Partition, bounds: Bounds, take: Callable[[Inspected], Awaitable[None]]) -> int:
        """Go through a stream, and return how many entries were examined.

        Retention is applied to each stream by itself: where a kind has several partitions, some of what is handed on is
        already hidden by newer records of the others.

        While a page is examined the next one is on its way; no more than that is in memory.

        :param take: is given each page
        """
        reader = _Reader(partition.kind, self._policy, self._clock(), bounds)
        stream = self._keys.stream(partition)
        count = reader.next_count()
        entries = await self._store.newest(stream, count=count)
        while entries:
            ahead = _Ahead()
            more = reader.next_count(entries) if len(entries) == count else 0
            async with anyio.create_task_group() as tasks:
                if more > 0:
                    tasks.start_soon(self._fetch, stream, more, entries[-1].id, ahead)
                    await anyio.lowlevel.checkpoint()
                bad = reader.examine(entries)
                if reader.over:
                    tasks.cancel_scope.cancel()
            await take(Inspected(examined=reader.examined, bad=bad))
            if reader.over:
                break
            entries, count = ahead.take(), more
        return reader.examined

    async def _fetch(self, stream: str, count: int, before: EntryId, ahead: _Ahead) -> None:
        try:
            ahead.entries = await self._store.newest(stream, count=count, before=before)
        except Exception as error:  # noqa: BLE001 -- a task group would wrap it; it is raised where the page is taken
            ahead.error = error
