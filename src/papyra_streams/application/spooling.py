"""The spool as the write path sees it: what goes wrong with it is counted and logged, and never gets further."""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from time import monotonic

from papyra_streams.errors import SpoolCorrupt, SpoolFailed
from papyra_streams.ports import SpooledPage, SpoolPort
from papyra_streams.tasks import DetachedTask, spawn

from .batches import MOST_BYTES, MOST_RECORDS, Batch
from .metrics import WriteMeter
from .notices import unforeseen

# A full disk may take a small batch and refuse a large one, by turns.
_SECONDS_BETWEEN_LINES = 60.0
# How long a spool that did not take a batch counts as one that does not work.
_SECONDS_UNUSABLE = 1.0

logger = logging.getLogger("papyra_streams")


class Spooling:
    """Puts batches on disk, and gives them back.

    A spool that cannot be used for now is tried again with the next batch; one that is corrupt is given up, and counts
    as empty: what this backend had put there is counted as dropped.
    """

    def __init__(self, spool: SpoolPort, meter: WriteMeter) -> None:
        self._spool = spool
        self._meter = meter
        self.is_given_up = False
        self._is_ending = False
        self._is_closed = False
        self._unusable_until = -math.inf
        self._quiet_until = -math.inf
        # How many records of each producer of this backend are there.
        self._ours: Counter[str] = Counter()
        self._replaying: set[str] = set()
        self._putting: dict[str, DetachedTask[bool]] = {}

    @property
    def is_usable(self) -> bool:
        """Whether the next batch is likely to be taken."""
        return not self._is_gone and monotonic() >= self._unusable_until

    async def open(self) -> None:
        """Find out at once, not in the first outage, whether the directory can be used."""
        try:
            await self._spool.lead()
            await self._spool.resign()
        except Exception as error:  # noqa: BLE001 -- the actor system is to start all the same
            self.count_failure(error)

    async def streams(self) -> Sequence[str]:
        """Return the streams of which something is left here, as far as it can be told."""
        try:
            return [] if self._is_gone else await self._spool.streams()
        except Exception as error:  # noqa: BLE001 -- the actor system is to start all the same
            self.count_failure(error)
            return []

    async def left_over(self, stream: str) -> int | None:
        """Return the position of the newest record left here, 0 if there is none, None if it cannot be told."""
        if self._is_gone:
            return 0
        try:
            newest = await self._spool.newest(stream)
            self._meter.spooled[stream] = await self._spool.count(stream) if newest else 0
        except Exception as error:  # noqa: BLE001 -- the actor system is to start all the same
            self.count_failure(error)
            return None
        return newest

    async def put(self, stream: str, producer: str, batch: Batch) -> bool:
        """Put a batch on disk; return whether it is there."""
        # A spool that hangs would hold up closing for as long as each batch takes to fail.
        if self._is_gone or (self._is_ending and not self.is_usable):
            return False
        put = partial(self._put, stream, producer, batch.first, batch.payloads)
        if self._is_ending:
            return await put()
        # A thread goes on after its caller is cancelled; whoever comes next waits for it.
        task = self._putting[stream] = spawn(put, name="papyra-streams spool")
        return await task.result()

    async def holds(self, stream: str, producer: str, *, up_to: int) -> bool:
        """Tell whether records are still there that newer ones must not overtake."""
        if self._is_gone:
            return False
        if stream in self._putting:
            await self._putting[stream].wait()
        try:
            return await self._spool.holds(stream, producer, up_to=up_to)
        except Exception as error:  # noqa: BLE001 -- what cannot be told may be so
            self.count_failure(error)
            return not self.is_given_up

    async def oldest(self, stream: str) -> SpooledPage | None:
        """Return the records that are next, if there are any.

        :raises SpoolFailed: if they cannot be read for now
        """
        return None if self._is_gone else await self._spool.oldest(stream, records=MOST_RECORDS, size=MOST_BYTES)

    async def position_of_oldest(self, stream: str) -> int:
        """Return how far somebody else has come with emptying it: a position that grows, or 0 if nothing is left.

        :raises SpoolFailed: if that cannot be read for now
        """
        page = None if self._is_gone else await self._spool.oldest(stream, records=1, size=1)
        self._meter.spooled[stream] = await self._spool.count(stream) if page else 0
        return page.last_position if page else 0

    async def remove(self, stream: str, page: SpooledPage) -> None:
        """Forget records that the server has."""
        try:
            await self._spool.remove(stream, up_to=page.last_position)
        except SpoolFailed as error:
            self.count_failure(error)
            return
        for batch in page.batches:
            self._meter.metrics.records_replayed += len(batch.payloads)
            self._count(stream, batch.producer, -len(batch.payloads))

    async def lead(self, stream: str) -> bool:
        """Tell whether this stream may be emptied from here, and nowhere else.

        :raises SpoolFailed: if that cannot be found out for now
        """
        self._replaying.add(stream)
        return not self._is_gone and await self._spool.lead()

    async def resign(self, stream: str) -> None:
        """Let others empty the spool, once no stream is being emptied from here."""
        self._replaying.discard(stream)
        if not self._replaying:
            await self._spool.resign()

    def expect_end(self) -> None:
        """Start no task any more, and try nothing twice."""
        self._is_ending = True

    async def aclose(self) -> None:
        """Close the spool; what is in it stays."""
        self._is_closed = True
        await self._spool.aclose()

    def count_failure(self, error: Exception) -> None:
        """Count that the spool failed, and log it, though not every time."""
        self._meter.metrics.spool_errors += 1
        if isinstance(error, SpoolCorrupt) and not self.is_given_up:
            self.is_given_up = True
            lost = self._ours.total()
            self._meter.lose(lost)
            logger.error("The spool is given up, and with it %d records of this process: %s", lost, error)
        elif monotonic() >= self._quiet_until:
            logger.error("The spool fails: %s", error, exc_info=unforeseen(error))
            self._quiet_until = monotonic() + _SECONDS_BETWEEN_LINES

    async def _put(self, stream: str, producer: str, first: int, payloads: Sequence[bytes]) -> bool:
        # Counted before it is there, since it may be gone again before this goes on.
        self._count(stream, producer, len(payloads))
        try:
            await self._spool.put(stream, producer, first, payloads)
        except Exception as error:  # noqa: BLE001 -- the record is to be stored elsewhere, or counted as lost
            self._count(stream, producer, -len(payloads))
            self.count_failure(error)
            self._unusable_until = monotonic() + _SECONDS_UNUSABLE
            return False
        self._unusable_until = -math.inf
        self._meter.metrics.records_spooled += len(payloads)
        return True

    def _count(self, stream: str, producer: str, change: int) -> None:
        # Other processes put and take as well.
        self._ours[producer] = max(0, self._ours[producer] + change)
        self._meter.spooled[stream] = max(0, self._meter.spooled[stream] + change)

    @property
    def _is_gone(self) -> bool:
        return self.is_given_up or self._is_closed
