"""Which faults pass, and how to wait for that."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from papyra_streams import backoff
from papyra_streams.errors import AuthenticationFailed, Indeterminate, OutOfMemory, StreamsError, Unavailable

ResultT = TypeVar("ResultT")

OUTAGES = (Unavailable, Indeterminate, OutOfMemory, AuthenticationFailed)
"""What goes away by itself, or by what an operator does to the server; anything else lies in what was sent."""

# Most faults are over with the second attempt.
_ATTEMPTS_BEFORE_A_LINE = 2
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0

logger = logging.getLogger("papyra_streams")


class Outage:
    """Counts the attempts that fail in a row, says how long to wait for the next, and logs one line for them all."""

    def __init__(self, what: str) -> None:
        """Begin with a server that answers; ``what`` it is asked for begins the lines of the log."""
        self._what = what
        self._begin()

    def is_over(self) -> None:
        """Note that the server answers."""
        if self._attempts >= _ATTEMPTS_BEFORE_A_LINE:
            logger.warning("%s goes on: the server answers again.", self._what)
        if self._attempts:
            self._begin()

    def next_delay(self, error: Exception) -> float:
        """Note that it did not; return for how many seconds to wait."""
        self._attempts += 1
        if self._attempts == _ATTEMPTS_BEFORE_A_LINE:
            logger.warning("%s waits for the server: %s", self._what, error)
        return next(self._delays)

    def _begin(self) -> None:
        self._attempts = 0
        self._delays = backoff.delays(_FIRST_DELAY, _LONGEST_DELAY)


async def pause(seconds: float, unless: anyio.Event) -> None:
    """Wait, at most until an event."""
    with anyio.move_on_after(seconds):
        await unless.wait()


async def until_answered(
    call: Callable[[], Awaitable[ResultT]],
    outage: Outage,
    *,
    ending: anyio.Event,
    note: Callable[[StreamsError], object] = lambda _: None,
) -> ResultT:
    """Try until the server answers; once ``ending`` is set, only once more.

    :param note: called with what an attempt failed for, where another one follows
    :raises StreamsError: what does not go away by waiting; and the last outage, if it ends
    """
    while True:
        try:
            result = await call()
        except OUTAGES as error:
            if ending.is_set():
                raise
            note(error)
            await pause(outage.next_delay(error), ending)
        else:
            outage.is_over()
            return result
