"""Asking several servers the same, where one that is silent is not to keep the others from answering."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Generic, TypeVar

import anyio

from papyra_streams.errors import StreamsError
from papyra_streams.tasks import DetachedTask, spawn

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")


class Race(Generic[AskedT, AnswerT]):
    """Asks all, each a little later than the one before it, or as soon as that one has failed."""

    def __init__(self, ask: Callable[[AskedT], Awaitable[AnswerT]], *, head_start: float) -> None:
        """Ask with a function, which raises a `StreamsError` where there is no answer."""
        self._ask = ask
        self._head_start = head_start
        self.answers: list[AnswerT] = []
        self.errors: list[StreamsError] = []
        self._fault: Exception | None = None
        self._changed = anyio.Event()

    async def run(self, asked: Sequence[AskedT], *, enough: Callable[[Sequence[AnswerT]], float | None]) -> None:
        """Collect answers and errors.

        :param enough: tells for how many more seconds it is worth waiting, given what was answered; None for as long as
            it takes
        """
        waiting, end = deque(asked), inf
        # Not a task group: at the end of an event loop, anyio 4 warns of its tasks that have not begun.
        tasks: list[DetachedTask[Any]] = []
        try:
            while len(self.answers) + len(self.errors) < len(asked):
                if self._fault:
                    raise self._fault
                now = anyio.current_time()
                seconds = enough(self.answers)
                end = end if seconds is None else min(end, now + seconds)
                if now >= end:
                    return
                until = end
                if waiting:
                    tasks.append(spawn(partial(self._ask_one, waiting.popleft()), name="papyra-streams ask"))
                    until = min(end, now + self._head_start)
                with anyio.CancelScope(deadline=until):
                    await self._changed.wait()
        finally:
            for task in tasks:
                task.cancel()

    async def _ask_one(self, one: AskedT) -> None:
        try:
            self.answers.append(await self._ask(one))
        except StreamsError as error:
            self.errors.append(error)
        except Exception as error:  # noqa: BLE001 -- raised where the answers are awaited
            self._fault = error
        finally:
            former, self._changed = self._changed, anyio.Event()
            former.set()
