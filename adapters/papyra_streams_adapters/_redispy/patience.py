"""A time limit on one exchange after another."""

import asyncio
from types import TracebackType

# How many turns of the event loop lie, with some to spare, between bytes at the socket and the reply they make.
_TURNS = 10


class Patience:
    """Ends an exchange that takes too long, as `asyncio.timeout` does, with a timer that serves many exchanges.

    To set a timer for each, and to take it back, costs a tenth of a round trip.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def lasting(self, seconds: float) -> "Patience":
        """Set for how long what is begun now may take."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + seconds
        # One that rings too early is set again then.
        if self._timer is None or self._timer.when() > self._until:
            self._set_timer(loop)
        return self

    def end(self) -> None:
        """Drop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task, self._task = self._task, None
        if not self._is_over or task is None:
            return
        self._is_over = False
        # Whoever else has cancelled the task meanwhile is to be obeyed.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self.end()
        self._timer = loop.call_at(self._until, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop, turns: int = _TURNS) -> None:
        self._timer = None
        if self._task is None:
            return
        if loop.time() < self._until:
            self._set_timer(loop)
        elif turns:
            # After the event loop was busy, timers ring before what has come meanwhile is read.
            self._timer = loop.call_at(self._until, self._ring, loop, turns - 1)
        else:
            self._is_over = True
            self._task.cancel()
