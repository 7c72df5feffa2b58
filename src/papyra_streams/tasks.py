"""Tasks that belong to no caller, so that a caller's cancellation does not reach what they do."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
import sniffio

from .errors import Closed

ResultT = TypeVar("ResultT")

# An event loop holds its tasks only weakly.
_running: set["DetachedTask[Any]"] = set()


def spawn(
    function: Callable[[], Awaitable[ResultT]], *, name: str = "detached", context: contextvars.Context | None = None
) -> "DetachedTask[ResultT]":
    """Run a function in a task that lives as long as it needs, at most as long as the event loop.

    :param context: the context variables it sees and may change; none of the caller's if it is left out
    """
    task = DetachedTask(function)
    task.start(name, context or contextvars.Context())
    return task


def forget_cancellation() -> bool:
    """Go on in a task that was cancelled, but by no scope, if that is possible; as only asyncio allows."""
    if sniffio.current_async_library() == "trio":
        return False
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
    return task is not None


def id_of_current_task() -> int:
    """Return a number that no other task has while this one lives."""
    if sniffio.current_async_library() == "trio":
        import trio

        return id(trio.lowlevel.current_task())
    return id(asyncio.current_task())


class DetachedTask(Generic[ResultT]):
    """A function that runs by itself, and what came of it. Made by `spawn`, in a running event loop."""

    def __init__(self, function: Callable[[], Awaitable[ResultT]]) -> None:
        self._function = function
        self._scope = anyio.CancelScope()
        self._finished = anyio.Event()
        self._result: ResultT
        self._error: Exception | None = None
        self._has_outcome = False

    def start(self, name: str, context: contextvars.Context) -> None:
        """Begin; `spawn` has done so."""
        _running.add(self)
        if sniffio.current_async_library() == "trio":
            import trio

            trio.lowlevel.spawn_system_task(self._run, name=name, context=context)
            return
        task = asyncio.get_running_loop().create_task(self._run(), name=name, context=context)
        # A task that is cancelled before its first step never enters _run.
        task.add_done_callback(lambda _: self._finish())

    @property
    def done(self) -> bool:
        """Whether it has returned, failed, or was cancelled."""
        return self._finished.is_set()

    async def wait(self) -> None:
        """Wait until it is done, whatever came of it."""
        await self._finished.wait()

    async def result(self) -> ResultT:
        """Wait for it, and return what it returned or raise what it raised. Cancelling the waiter does not cancel it.

        :raises Closed: if it was cancelled, by `cancel` or by the end of the event loop
        """
        await self.wait()
        if not self._has_outcome:
            raise Closed("The backend was closed, or its event loop ended, during the call.")
        if self._error is not None:
            raise self._error
        return self._result

    def cancel(self) -> None:
        """Ask it to end; `result` tells when it has."""
        self._scope.cancel()

    async def _run(self) -> None:
        try:
            with self._scope:
                self._result = await self._function()
                self._has_outcome = True
        except Exception as error:  # noqa: BLE001 - what gets out is logged on asyncio, and brings trio down
            self._error = error
            self._has_outcome = True
        finally:
            self._finish()

    def _finish(self) -> None:
        _running.discard(self)
        self._finished.set()
