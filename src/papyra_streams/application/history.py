"""Reading records back, from the newest."""

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.arguments import is_whole
from papyra_streams.domain.encoding import usable_timestamp
from papyra_streams.domain.entries import Entry
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.records import Record, Unreadable, is_epoch_time, read
from papyra_streams.domain.retention import Horizon, RetentionWalk
from papyra_streams.errors import InvalidValue
from papyra_streams.ports import ReadPort

from .clock import Clock
from .merging import merged

# Where a walk may end soon, or nobody knows how large entries are, its first page is small.
FIRST_PAGE = 100
# Large enough that round trips do not count, small enough that the server and the event loop are not held up.
PAGE = 1000
# An entry may be as large as the server takes: where entries are large, pages are small.
_BYTES_OF_A_PAGE = 1024 * 1024
# The size of so many entries of a page is looked at before the next page is asked for.
_SAMPLES = 10


Numbered = tuple[int, Entry]
"""An entry, and the how manieth of the streams it is from, counted from 0."""


def page_behind(entries: Sequence[Entry], largest: int = 0) -> int:
    """Tell how many entries to read behind a page: at most twice as many. Of those before, the largest is known."""
    seen = max(largest, *(entry.size for entry in entries[:: len(entries) // _SAMPLES + 1]))
    return max(1, min(PAGE, 2 * len(entries), _BYTES_OF_A_PAGE // max(seen, 1)))


def newest_first(
    store: ReadPort, streams: Sequence[str], *, at_most: int | None, page: int
) -> AbstractAsyncContextManager[AsyncGenerator[Numbered, None]]:
    """Walk one stream backwards, or several as if they were one, each a page at a time.

    Left before its end, the walk must be closed, or trio complains.
    """
    walks = [_walk(store, stream, number, at_most, page) for number, stream in enumerate(streams)]
    return aclosing(walks[0] if len(walks) == 1 else merged(walks, _backwards, at_most=at_most))


def _backwards(numbered: Numbered) -> tuple[int, int]:
    _, entry = numbered
    return -entry.id.milliseconds, -entry.id.sequence


async def _walk(
    store: ReadPort, stream: str, number: int, at_most: int | None, page: int
) -> AsyncGenerator[Numbered, None]:
    before = None
    while at_most is None or at_most > 0:
        count = page if at_most is None else min(page, at_most)
        entries = await store.newest(stream, count=count, before=before)
        for entry in entries:
            yield number, entry
        if len(entries) < count:
            return
        before = entries[-1].id
        at_most = None if at_most is None else at_most - count
        page = page_behind(entries)


class History:
    """Answers what was recorded, as far as the retention policy still shows it."""

    def __init__(
        self, store: ReadPort, keys: Keyspace, policy: RetentionPolicy, clock: Clock, *, max_read: int
    ) -> None:
        self._store = store
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._max_read = max_read

    async def newest(self, kind: Kind, *, limit: int | None, since: float | None) -> list[Record]:
        """Return the newest ``limit`` records recorded at ``since`` or later, the oldest of them first.

        Where ``since`` is a time since the epoch, so is what it is compared with; otherwise it is compared with the
        timestamps as they are. The streams are read backwards only as far as need be, together, by their ids.
        """
        _check(limit, since)
        if limit == 0:
            return []
        streams = [self._keys.stream(partition) for partition in self._keys.partitions_of(kind)]
        page = PAGE if limit is None else min(PAGE, _share(limit, len(streams)))
        async with newest_first(self._store, streams, at_most=self._max_read, page=page) as entries:
            found = await self._choose(kind, entries, limit, since)
        found.reverse()
        return found

    async def _choose(
        self, kind: Kind, entries: AsyncIterable[Numbered], limit: int | None, since: float | None
    ) -> list[Record]:
        found: list[Record] = []
        walk = RetentionWalk(self._policy, self._clock())
        horizon = Horizon(since) if since is not None and is_epoch_time(since) else None
        async for _, entry in entries:
            record = read(kind, entry)
            if isinstance(record, Unreadable):
                continue
            if walk.shows(record) and _recorded_since(record, since, horizon):
                found.append(record)
            if walk.over or len(found) == limit or (horizon and horizon.passed(record.id)):
                break
        return found


def _share(limit: int, streams: int) -> int:
    """Tell how many entries of each stream are likely to be enough; of several, not quite equally busy, a few more."""
    return limit if streams == 1 else limit * 5 // (4 * streams) + 2


def _recorded_since(record: Record, since: float | None, horizon: Horizon | None) -> bool:
    if horizon:
        return not horizon.hides(record)
    return since is None or record.timestamp >= since


def _check(limit: object, since: object) -> None:
    if limit is not None and (not is_whole(limit) or limit < 0):
        raise InvalidValue(f"`limit` must be a whole number from 0, or None, not {limit!r}.")
    if since is not None and not usable_timestamp(since):
        raise InvalidValue(f"`since` must be a number of seconds, or None, not {since!r}.")
