"""A real actor system, with the backend as its persistence, that is at work while something goes wrong."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.abc import TaskGroup
from papyra import Actor, ActorSystem
from papyra.exceptions import ActorStopped
from papyra.persistence.models import PersistedEvent
from papyra.ref import ActorRef

from papyra_streams import RedisStreamsPersistence

from .accounts import Ledger

_TICK_SECONDS = 0.02
_EVENTS_A_TICK = 4
_RUN = 10
_RUN_SECONDS = 0.05
_PAUSE_SECONDS = 0.01
_PATIENCE_OF_A_CALLER = 0.002
_FILLER = "x" * 200
_PATIENCE_SECONDS = 25.0


class Echo(Actor):
    """Answers whatever it is sent."""

    async def receive(self, message: Any) -> Any:
        return message


class LivingSystem:
    """Records about 500 events a second, one after another, many at once and in runs, and 90 dead letters.

    The events are handed to the backend here, so that it is known which call returned; some of the callers give up
    very soon. The dead letters take the system's own way: messages to an actor that is gone, which the system records
    in its own task group. All the while an actor is asked, which shows whether the system lives.
    """

    def __init__(
        self, backend: RedisStreamsPersistence, *, first: int = 0, on_return: Callable[[int], object] = lambda _: None
    ) -> None:
        self.backend = backend
        self.events = Ledger(first)
        self.dead_letters = Ledger(first)
        self.answers = 0
        self.slowest_answer = 0.0
        self.slowest_call = 0.0
        self.cancelled = 0
        self.most_queued = 0
        self.closing_seconds = 0.0
        self._on_return = on_return
        self._ended = False

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Run the system, and close it, which closes the backend."""
        # Who waits for the opening has its number already. A run takes its own when its turn comes, which is later.
        await self.backend.record_many(())
        system = ActorSystem(persistence=self.backend)
        await system.start()
        echo, departed = system.spawn(Echo), system.spawn(Echo)
        await system.stop(departed)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._ask, echo)
                tasks.start_soon(self._record_many_at_once, tasks)
                tasks.start_soon(self._record_one_after_another)
                tasks.start_soon(self._record_and_give_up)
                tasks.start_soon(self._record_runs)
                tasks.start_soon(self._send_to_nobody, departed)
                try:
                    yield
                finally:
                    self._ended = True
        finally:
            began = time.monotonic()
            await system.aclose()
            self.closing_seconds = time.monotonic() - began
        # The system ended the task of every dead letter before it closed.
        self.dead_letters.returned.update(range(self.dead_letters.first, self._next_dead_letter))

    @property
    def _next_dead_letter(self) -> int:
        return self.dead_letters.first + self.dead_letters.asked

    async def returned(self, more: int) -> None:
        """Wait until so many further calls have returned."""
        enough = len(self.events.returned) + more
        await self.until(lambda: len(self.events.returned) >= enough)

    async def spooled(self, more: int) -> None:
        """Wait until so many further records are on disk, and calls go on returning."""
        enough = self.backend.metrics.records_spooled + more
        await self.until(lambda: self.backend.metrics.records_spooled >= enough)
        await self.returned(50)

    async def recovered(self) -> None:
        """Wait until the spool is empty and the server takes what is recorded now."""
        await self.until(lambda: self.backend.stats().spooled == 0)
        enough = self.backend.metrics.records_written + 200
        await self.until(lambda: self.backend.metrics.records_written >= enough)
        await self.until(lambda: self.backend.stats().spooled == 0)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds.

        :raises TimeoutError: if it does not in time
        """
        with anyio.move_on_after(_PATIENCE_SECONDS):
            while not holds():
                await anyio.sleep(0.01)
            return
        raise TimeoutError(f"{self.backend.stats()} {self.backend.metrics}")

    async def _ask(self, echo: ActorRef) -> None:
        while not self._ended:
            began = time.monotonic()
            assert await echo.ask(self.answers, timeout=_PATIENCE_SECONDS) == self.answers
            self.slowest_answer = max(self.slowest_answer, time.monotonic() - began)
            self.answers += 1
            self.most_queued = max(self.most_queued, self.backend.stats().queued)
            await anyio.sleep(_TICK_SECONDS)

    async def _record_many_at_once(self, tasks: TaskGroup) -> None:
        while not self._ended:
            for _ in range(_EVENTS_A_TICK):
                tasks.start_soon(self._record)
            await anyio.sleep(_TICK_SECONDS)

    async def _record_one_after_another(self) -> None:
        while not self._ended:
            await self._record()
            await anyio.sleep(_PAUSE_SECONDS)

    async def _record_and_give_up(self) -> None:
        while not self._ended:
            with anyio.move_on_after(_PATIENCE_OF_A_CALLER) as scope:
                await self._record()
            self.cancelled += scope.cancelled_caught
            await anyio.sleep(_TICK_SECONDS)

    async def _record_runs(self) -> None:
        while not self._ended:
            # Taken when the backend asks for the record, for others record meanwhile.
            numbers: list[int] = []
            assert await self.backend.record_many(map(_event, self._take(numbers))) == _RUN
            for number in numbers:
                self._note(number)
            await anyio.sleep(_RUN_SECONDS)

    def _take(self, numbers: list[int]) -> Iterator[int]:
        for _ in range(_RUN):
            numbers.append(self.events.take())
            yield numbers[-1]

    async def _record(self) -> None:
        number = self.events.take()
        began = time.monotonic()
        await self.backend.record_event(_event(number))
        self.slowest_call = max(self.slowest_call, time.monotonic() - began)
        self._note(number)

    def _note(self, number: int) -> None:
        self.events.returned.add(number)
        self._on_return(number)

    async def _send_to_nobody(self, departed: ActorRef) -> None:
        while not self._ended:
            with suppress(ActorStopped):
                await departed.tell({"number": self.dead_letters.take(), "filler": _FILLER})
            # Each by itself, since trio starts tasks in no certain order.
            await anyio.sleep(_PAUSE_SECONDS)


def _event(number: int) -> PersistedEvent:
    return PersistedEvent("local", "local:1", "Numbered", {"number": number, "filler": _FILLER}, time.time())
