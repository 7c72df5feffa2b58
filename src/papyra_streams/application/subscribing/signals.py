"""SIGTERM for every worker of a program."""

import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.lowlevel

from papyra_streams.tasks import DetachedTask, spawn


class _Listening:
    """The workers of one event loop, and the task that listens for them all, from the first to the last of them."""

    def __init__(self) -> None:
        self.turn = anyio.Lock()
        self.workers: set[anyio.Event] = set()
        self.task: DetachedTask[None] | None = None


_listening: anyio.lowlevel.RunVar[_Listening] = anyio.lowlevel.RunVar("papyra-streams workers")


@asynccontextmanager
async def termination() -> AsyncGenerator[anyio.Event, None]:
    """Give an event that is set when the process gets SIGTERM; never where the program has a handler of its own for it.

    Until the context is left, no further one ends the process either.
    """
    listening = _listening.get(None)
    if listening is None:
        listening = _Listening()
        _listening.set(listening)
    terminated = anyio.Event()
    listening.workers.add(terminated)
    if listening.task is None or listening.task.done:
        listening.task = spawn(partial(_listen, listening), name="papyra-streams signals")
    try:
        yield terminated
    finally:
        listening.workers.discard(terminated)
        if not listening.workers:
            await _end(listening)


async def _end(listening: _Listening) -> None:
    task, listening.task = listening.task, None
    if task:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await task.wait()


async def _listen(listening: _Listening) -> None:
    # Whoever listened before them may be about to end.
    async with listening.turn:
        # Where a signal has a handler, the program around this one decides when to stop.
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        ):
            return
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                for worker in listening.workers:
                    worker.set()
