"""SIGTERM for every worker of a program."""

import signal
import threading

import anyio
import anyio.lowlevel


class _Listening:
    """The workers of one event loop, of which one at a time listens for them all."""

    def __init__(self) -> None:
        self.turn = anyio.Lock()
        self.workers: set[anyio.Event] = set()


_listening: anyio.lowlevel.RunVar[_Listening] = anyio.lowlevel.RunVar("papyra-streams workers")


async def until_terminated() -> None:
    """Wait until the process gets SIGTERM; for ever where the program has a handler of its own for it."""
    listening = _listening.get(None)
    if listening is None:
        listening = _Listening()
        _listening.set(listening)
    terminated = anyio.Event()
    listening.workers.add(terminated)
    try:
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(_listen, listening)
            await terminated.wait()
            waiting.cancel_scope.cancel()
    finally:
        listening.workers.discard(terminated)


async def _listen(listening: _Listening) -> None:
    # Whoever holds it may end before the others; the next one listens then.
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
