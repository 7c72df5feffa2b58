"""Writing streams anew, without the holes that deleted entries leave in the server's memory."""

import logging

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import OnProgress, Progress, RebuildOutcome
from papyra_streams.errors import Indeterminate, OutOfMemory, PermissionDenied, Rejected
from papyra_streams.ports import StreamStore

logger = logging.getLogger("papyra_streams")

# Each time, entries were deleted while the last of them were copied.
_ATTEMPTS = 10

# After so many steps the copy has to be nearer to the stream than before them.
_STEPS_OF_A_STRETCH = 100

_GONE = "the stream was written anew or removed by somebody else meanwhile, or its copy was"
_RESTLESS = "entries are written or deleted faster than they can be copied"
_PENDING = "more than 10,000 of its entries are pending, and to claim them anew would hold up the server"


class Rebuilding:
    """Copies a stream step by step, and swaps it when the copy is whole."""

    def __init__(self, store: StreamStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys

    async def run(self, partition: Partition, report: OnProgress) -> RebuildOutcome | None:
        """Write a stream anew; None if it has no entry. A copy that a former run has begun is gone on with.

        :raises OutOfMemory: if the server has no room for the copy
        """
        stream = self._keys.stream(partition)
        records, memory = await self._store.length(stream), await self._store.memory(stream)
        if not records:
            return None
        obstacle = await self._attempt(partition, report, records)
        if obstacle:
            logger.warning("%s was not written anew: %s.", stream, obstacle)
        return RebuildOutcome(
            stream=stream,
            obstacle=obstacle,
            records=await self._store.length(stream),
            before_bytes=memory,
            after_bytes=await self._store.memory(stream),
        )

    def _copy(self, partition: Partition) -> str:
        return self._keys.rebuilt(partition, "copy")

    async def _attempt(self, partition: Partition, report: OnProgress, records: int) -> str:
        """Return why it could not be done; empty if it was. A copy that is of no use any more is removed."""
        try:
            obstacle = await self._rebuild(partition, report, records)
        except Rejected as error:
            obstacle = str(error).rstrip(".")
        except (OutOfMemory, PermissionDenied):
            await self._store.discard(self._copy(partition))
            raise
        if obstacle and obstacle != _GONE:
            await self._store.discard(self._copy(partition))
        return obstacle

    async def _rebuild(self, partition: Partition, report: OnProgress, records: int) -> str:
        is_begun = False
        for _ in range(_ATTEMPTS):
            if obstacle := await self._copy_all(partition, report, records, is_begun=is_begun):
                return obstacle
            is_begun = True
            outcome = await self._swap(partition)
            if outcome == "swapped":
                return ""
            if outcome is None:
                return _GONE
            if outcome == "pending":
                return _PENDING
            if outcome == "differs":
                still = await self._compare_all(partition)
                if still is None:
                    return _GONE
                is_begun = still
        return _RESTLESS

    async def _swap(self, partition: Partition) -> str | None:
        copy, free = self._copy(partition), self._keys.rebuilt(partition, "former")
        try:
            return await self._store.swap(self._keys.stream(partition), copy, free=free)
        except Indeterminate:
            # Nothing else takes a copy away that was just worked on.
            return "behind" if await self._store.length(copy) else "swapped"

    async def _copy_all(self, partition: Partition, report: OnProgress, records: int, *, is_begun: bool) -> str:
        """Return why it could not be done; empty if it was."""
        stream = self._keys.stream(partition)
        left, steps = records, 0
        while step := await self._store.copy_entries(stream, self._copy(partition), is_begun=is_begun):
            is_begun, steps = True, steps + 1
            await report(Progress(step="rebuild", stream=stream, done=step.copied, total=max(records, step.records)))
            if step.is_complete:
                return ""
            if steps % _STEPS_OF_A_STRETCH == 0:
                was_left, left = left, step.records - step.copied
                if left >= was_left:
                    return _RESTLESS
        return _GONE

    async def _compare_all(self, partition: Partition) -> bool | None:
        """Take out of the copy what was deleted meanwhile; return whether it is of use, None if it is gone."""
        after: EntryId | None = None
        while True:
            reached = await self._store.compare(self._keys.stream(partition), self._copy(partition), after=after)
            if reached is False:
                # Left by somebody who worked on another stream of this name.
                await self._store.discard(self._copy(partition))
                return False
            if not isinstance(reached, EntryId):
                return reached
            after = reached
