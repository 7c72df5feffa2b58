"""Who waits a little, so that records which come soon after each other share a round trip."""

import math
from contextvars import ContextVar
from time import monotonic

import anyio

from papyra_streams.tasks import id_of_current_task

from .batches import Batch

# Who records again was held up by the last answer, and should not be held up further; who records once, in a task for
# that, as an actor system does, is not held up at all. A child inherits its parent's mark, which names another task.
_recorded_in: ContextVar[int] = ContextVar("papyra_streams_recorded_in", default=0)
# How long nobody waits after a wait that brought nobody, in seconds.
_DISAPPOINTED = 1.0


class Company:
    """Decides whether a record waits for others: only if the last round trip began less than ``linger`` seconds ago."""

    def __init__(self, linger: float) -> None:
        self._linger = linger
        self._last_begun = -math.inf
        self._disappointed_until = -math.inf
        self._enough = anyio.Event()

    def suits_caller(self) -> bool:
        """Tell whether the calling task records for the first time, and note that it has."""
        task = id_of_current_task()
        if _recorded_in.get() == task:
            return False
        _recorded_in.set(task)
        return True

    def is_expected(self, now: float) -> bool:
        """Tell whether others are likely to come in time."""
        return self._disappointed_until <= now < self._last_begun + self._linger

    def note_round_trip(self, now: float) -> None:
        """Count the time from here."""
        self._last_begun = now

    def suffices(self) -> None:
        """End the wait."""
        self._enough.set()

    async def join(self, batch: Batch) -> None:
        """Wait until the time is over, or it suffices."""
        now = monotonic()
        if not batch.is_patient or not self.is_expected(now):
            return
        self._enough = anyio.Event()
        with anyio.move_on_after(self._last_begun + self._linger - now) as waiting:
            await self._enough.wait()
        if waiting.cancelled_caught and len(batch.payloads) == 1:
            self._disappointed_until = monotonic() + _DISAPPOINTED
