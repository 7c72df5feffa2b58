"""What was put on disk while the server was away goes to the server, the oldest first."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic

import anyio

from papyra_streams.backoff import delays
from papyra_streams.domain.writing import WritePolicy
from papyra_streams.errors import Closed, SpoolFailed
from papyra_streams.ports import SpooledPage
from papyra_streams.tasks import DetachedTask, spawn

from .outages import OUTAGES
from .sending import Sender
from .spooling import Spooling

logger = logging.getLogger("papyra_streams")

# How often to look how far another process has come with emptying the spool, in seconds.
_SECONDS_BETWEEN_LOOKS = 0.2
# After each page the server has as much time for others as the page took, up to this long; unless newer records wait.
_LONGEST_PAUSE = 0.1


class Replay:
    """Empties the spool of one stream, as long as there is something in it; one page at a time."""

    def __init__(
        self, sender: Sender, spooling: Spooling, policy: WritePolicy, *, when_empty: Callable[[], None]
    ) -> None:
        self._stream = sender.stream
        self._when_empty = when_empty
        self._sender = sender
        self._spooling = spooling
        self._policy = policy
        self._task: DetachedTask[None] | None = None
        self._is_wanted = False
        self._gets_through = False
        self._is_awaited = False
        self._is_last_try = anyio.Event()
        self._is_refused = False
        self._replayed = 0
        # The number of the last record that the server has of each producer's in the page under way.
        self._sent: Counter[str] = Counter()
        self._waits = self._new_waits()

    def begin(self, *, is_refused: bool = False) -> None:
        """See to it that what is there now will be sent; if the server refuses it, and not for now, that is known."""
        self._is_wanted = True
        self._is_refused = self._is_refused or is_refused
        if self._task is None or self._task.done:
            self._task = spawn(self._run, name=f"papyra-streams replay {self._stream}")

    def makes_way(self) -> bool:
        """Tell whether it is worth while to wait until the spool is empty; it goes on faster then."""
        self._is_awaited = True
        return self._gets_through

    async def finish(self) -> None:
        """Wait until the spool is empty, or the server does not take the next batch."""
        self._is_last_try.set()
        if self._task:
            await self._task.wait()

    async def cancel(self) -> None:
        """End at once; what was not sent, or not answered, stays where it is."""
        if self._task:
            self._task.cancel()
            await self._task.wait()

    async def _run(self) -> None:
        while self._is_wanted:
            self._is_wanted = False
            try:
                await self._empty()
            except Closed:
                return
            except Exception as error:  # noqa: BLE001 -- nobody is there to catch it, and what was not sent stays
                self._note(error)
                self._gets_through = False
                self._is_wanted = True
            if self._is_wanted:
                if self._is_last_try.is_set():
                    return
                await self._pause(next(self._waits))

    async def _empty(self) -> None:
        """Send what is there, and return when nothing is left."""
        try:
            if await self._lead():
                while page := await self._spooling.oldest(self._stream):
                    await self._send(page)
        finally:
            with anyio.CancelScope(shield=True):
                await self._spooling.resign(self._stream)
        self._gets_through = self._is_awaited = False
        self._when_empty()
        if self._replayed:
            logger.warning("The spool of %s is empty; %d records went to the server.", self._stream, self._replayed)
            self._replayed = 0

    async def _lead(self) -> bool:
        """Wait until nobody else empties the spool; return whether there is something left."""
        last_seen = 0
        while not await self._spooling.lead(self._stream):
            oldest = await self._spooling.position_of_oldest(self._stream)
            if not oldest or self._is_last_try.is_set():
                return False
            self._gets_through = 0 < last_seen < oldest
            last_seen = oldest
            await self._pause(_SECONDS_BETWEEN_LOOKS)
        return True

    async def _send(self, page: SpooledPage) -> None:
        begun = monotonic()
        for batch in page.batches:
            last = batch.first + len(batch.payloads) - 1
            # After a failure the page is read again, and what was sent of it is not sent again.
            if last > self._sent[batch.producer]:
                await self._sender.send(batch.producer, batch.first, batch.payloads, sum(map(len, batch.payloads)))
                self._sent[batch.producer] = last
                self._waits = self._new_waits()
        self._is_refused = False
        self._gets_through = True
        self._replayed += sum(len(batch.payloads) for batch in page.batches)
        self._sent.clear()
        await self._spooling.remove(self._stream, page)
        if not self._is_awaited:
            await anyio.sleep(min(monotonic() - begun, _LONGEST_PAUSE))

    async def _pause(self, delay: float) -> None:
        with anyio.move_on_after(delay):
            await self._is_last_try.wait()

    def _note(self, error: Exception) -> None:
        if isinstance(error, SpoolFailed):
            self._spooling.count_failure(error)
            return
        self._sender.count_retry()
        if not isinstance(error, OUTAGES) and not self._is_refused:
            self._is_refused = True
            logger.error("Records for %s stay in the spool until this is mended: %s", self._stream, error)

    def _new_waits(self) -> Iterator[float]:
        return delays(self._policy.backoff, self._policy.backoff_limit)
