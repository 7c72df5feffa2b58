"""Reads for a consumer group that lose nothing when their caller is cancelled.

A cancelled XREADGROUP may have been answered already: the entries are then pending for a consumer that never saw
them. So the read goes on by itself, and the next one for the same consumer gets what it brought.
"""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable

import anyio

from papyra_streams.domain.entries import Entry
from papyra_streams.tasks import DetachedTask, spawn


class GroupReads:
    """Runs reads to their end, and keeps what a cancelled caller did not take."""

    def __init__(self) -> None:
        self._kept: defaultdict[Hashable, deque[DetachedTask[list[Entry]]]] = defaultdict(deque)
        self._left: dict[Hashable, list[Entry]] = {}

    async def read(self, consumer: Hashable, count: int, read: Callable[[], Awaitable[list[Entry]]]) -> list[Entry]:
        """Return up to ``count`` entries of what an earlier read left for this consumer, else what this one brings."""
        found = self._left.pop(consumer, None) or await self._find(consumer, read)
        if len(found) > count:
            self._left.setdefault(consumer, []).extend(found[count:])
        return found[:count]

    async def _find(self, consumer: Hashable, read: Callable[[], Awaitable[list[Entry]]]) -> list[Entry]:
        while kept := self._kept.pop(consumer, None):
            task = kept.popleft()
            if kept:
                self._kept[consumer] = kept
            if found := await self._finish(consumer, task):
                return found
        return await self._finish(consumer, spawn(read))

    async def _finish(self, consumer: Hashable, task: DetachedTask[list[Entry]]) -> list[Entry]:
        try:
            return await task.result()
        except anyio.get_cancelled_exc_class():
            self._kept[consumer].appendleft(task)
            raise
