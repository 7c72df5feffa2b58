"""Where the records of one stream go: to the server, past the bounds to the spool, or nowhere, which is counted."""

from time import monotonic
from uuid import uuid4

import anyio

from papyra_streams.backoff import delays
from papyra_streams.domain.writing import WritePolicy
from papyra_streams.errors import Closed, Indeterminate

from .batches import Batch
from .metrics import WriteMeter
from .notices import Notices
from .outages import OUTAGES
from .replay import Replay
from .sending import Sender
from .spooling import Spooling

# A server that has not answered for so long, in seconds, is as good as away.
_STALLED = 1.0


class Outlet:
    """Brings one batch at a time to its end, and raises nothing.

    Before a batch is first sent it gets its place in the producer's numbering, so that the server can tell what it
    already has. As long as records of this producer are in the spool, newer ones are not sent directly: they would
    overtake them, and the server would take the older ones for known. They wait in memory while the spool is being
    emptied, and follow through the spool otherwise.
    """

    def __init__(self, sender: Sender, policy: WritePolicy, meter: WriteMeter, spooling: Spooling | None) -> None:
        self._stream = sender.stream
        self._notices = Notices(sender.stream)
        self._sender = sender
        self._policy = policy
        self._meter = meter
        self._spooling = spooling
        self._replay = Replay(sender, spooling, policy, when_empty=self._ring) if spooling else None
        self._begin_numbering()
        self._attempt: anyio.CancelScope | None = None
        self._attempt_begun = 0.0
        # Ends a pause before its time.
        self._alarm = anyio.Event()
        self._error: Exception | None = None
        self._is_urgent = False
        self._is_closing = False
        self._is_behind_spool = False
        self._left_over = 0

    async def open(self) -> None:
        """See to what an earlier process left in the spool, before anything newer."""
        if not self._spooling or not self._replay:
            return
        left_over = await self._spooling.left_over(self._stream)
        # Where that cannot be told now, what is there will be sent once it can be read, if not before what is newer.
        if left_over != 0:
            self._replay.begin()
        if left_over:
            self._is_behind_spool = True
            self._left_over = left_over

    @property
    def is_failing(self) -> bool:
        """Whether the server does not take records directly, or has not answered for a while."""
        return self._error is not None or self._is_behind_spool or self._is_stalled

    @property
    def can_spool(self) -> bool:
        """Whether there is a spool that works."""
        return self._spooling is not None and self._spooling.is_usable

    def hurry(self) -> None:
        """Wait no longer for the server with the batch under way."""
        self._is_urgent = True
        if self._attempt and self._is_stalled:
            self._attempt.cancel()
        self._ring()

    def close(self) -> None:
        """Send nothing any more."""
        self._is_closing = True
        if self._attempt:
            self._attempt.cancel()
        self._ring()

    async def finish_replay(self) -> None:
        """Wait until the spool is empty, or the server does not take what is next."""
        if self._replay:
            await self._replay.finish()

    async def cancel_replay(self) -> None:
        """Leave in the spool what is there."""
        if self._replay:
            await self._replay.cancel()

    async def settle(self, batch: Batch) -> None:
        """Bring a batch to its end: stored, in the spool, or dropped."""
        self._is_urgent = False
        self._number(batch)
        try:
            await self._bring_to_an_end(batch)
        except Exception as error:  # noqa: BLE001 -- what escapes here ends the actor system that wanted to record a fact
            self._error = error
        if not batch.is_settled:
            self.drop(batch)

    def drop(self, batch: Batch) -> None:
        """Give a batch up, and count it."""
        self._notices.lost(len(batch.payloads), self._error)
        self._meter.lose(len(batch.payloads))
        batch.settle()

    async def _bring_to_an_end(self, batch: Batch) -> None:
        waits = delays(self._policy.backoff, self._policy.backoff_limit)
        while not (await self._pass_on(batch) or self._is_over(batch)):
            await self._pause(min(next(waits), max(0.0, self._seconds_left(batch))))

    async def _pass_on(self, batch: Batch) -> bool:
        """Try once to store a batch, or to put it on disk; return whether it is there."""
        if self._is_behind_spool:
            await self._see_whether_it_is_empty(batch)
        if self._is_behind_spool:
            return not self._waits_for_the_spool(batch) and await self._put(batch)
        if self._is_closing:
            self._error = self._error or Closed("The backend was closed.")
        elif not self._has_no_hope(batch) and await self._send(batch):
            return True
        return self._is_over(batch) and await self._put(batch)

    async def _send(self, batch: Batch) -> bool:
        self._attempt_begun = monotonic()
        try:
            with anyio.move_on_after(self._patience + self._policy.confirming) as self._attempt:
                await self._sender.send(self._producer, batch.first, batch.payloads, batch.size)
                batch.settle()
                self._notices.stored()
                self._error = None
                return True
            self._error = Indeterminate("The server did not answer in time.")
        except Exception as error:  # noqa: BLE001 -- whatever it is, the record is not to be lost for it
            self._error = error
        finally:
            self._attempt = None
        return False

    async def _put(self, batch: Batch) -> bool:
        if not self._spooling or not self._replay:
            return False
        try:
            is_there = await self._spooling.put(self._stream, self._producer, batch)
        except BaseException:
            # A caller that is cancelled leaves its records on their way to the disk.
            self._fall_behind(self._replay)
            raise
        if is_there:
            self._fall_behind(self._replay)
            batch.settle()
        return is_there

    def _fall_behind(self, replay: Replay) -> None:
        if not self._is_behind_spool:
            self._is_behind_spool = True
            self._notices.spooled(self._error)
        if not self._is_closing:
            replay.begin(is_refused=self._is_refused)

    async def _see_whether_it_is_empty(self, batch: Batch) -> None:
        if not self._spooling or await self._spooling.holds(self._stream, self._producer, up_to=self._left_over):
            return
        self._is_behind_spool = False
        self._error = None
        if self._spooling.is_given_up:
            # Should the file be mended and put back, its records are not to be taken for known.
            self._begin_numbering()
            batch.first = 0
            self._number(batch)

    def _waits_for_the_spool(self, batch: Batch) -> bool:
        return self._replay is not None and self._replay.makes_way() and not self._is_over(batch)

    def _is_over(self, batch: Batch) -> bool:
        """Tell whether a batch has waited long enough for the server."""
        if self._is_closing or self._is_urgent:
            return True
        return (self._is_refused and not self._is_behind_spool) or self._seconds_left(batch) <= 0

    @property
    def _is_refused(self) -> bool:
        """Whether waiting will not help."""
        return self._error is not None and not isinstance(self._error, OUTAGES)

    def _has_no_hope(self, batch: Batch) -> bool:
        """Tell whether a batch has grown old behind one that the server would not take either."""
        return self._error is not None and not self._spooling and self._seconds_left(batch) <= 0

    def _seconds_left(self, batch: Batch) -> float:
        return batch.born + self._patience - monotonic()

    @property
    def _patience(self) -> float:
        return self._policy.patience(has_spool=self.can_spool)

    @property
    def _is_stalled(self) -> bool:
        longest = _STALLED + self._policy.confirming
        return self._attempt is not None and monotonic() - self._attempt_begun > longest

    def _begin_numbering(self) -> None:
        self._producer = uuid4().hex
        self._next = 1

    def _number(self, batch: Batch) -> None:
        if not batch.first:
            batch.first = self._next
            self._next += len(batch.payloads)

    async def _pause(self, delay: float) -> None:
        if not self._is_behind_spool:
            self._notices.waiting(self._error)
            self._sender.count_retry()
        with anyio.move_on_after(delay):
            await self._alarm.wait()

    def _ring(self) -> None:
        self._alarm.set()
        self._alarm = anyio.Event()
