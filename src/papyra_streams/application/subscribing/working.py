"""A worker: handlers around a subscription, so many at a time."""

import contextvars
import inspect
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any

import anyio

from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.errors import InvalidValue
from papyra_streams.tasks import DetachedTask, spawn, was_cancelled_by_itself

from .delivery import Delivery, State
from .subscription import Subscription

logger = logging.getLogger("papyra_streams")

Handler = Callable[[Any], Awaitable[object]]

# How long handlers have, in seconds, to come to their end once they are cancelled.
_SECONDS_TO_CANCEL = 1.0


class _NotAsync(InvalidValue):
    """The handler is no async function: no entry's fault."""


class Worker:
    """Runs handlers, and settles what they were given by how they end.

    Each runs in a task of its own, so that one that ignores its cancellation cannot keep the worker from ending.
    """

    def __init__(self, subscription: Subscription, handler: Handler, metrics: StreamsMetrics) -> None:
        self._subscription = subscription
        self._cfg = subscription.cfg
        self._handler = handler
        self._metrics = metrics
        self._context = contextvars.copy_context()
        self._tasks: set[DetachedTask[None]] = set()
        self._handling = 0
        self._ended = anyio.Event()
        self._fault: Exception | None = None
        self._has_warned = False

    async def run(self, stop: anyio.Event | None) -> None:
        """Work until the subscription ends; a cancelled worker, and one past its grace, cancels its handlers."""
        self._subscription.settling.gives_back_abandoned = False
        self._subscription.hand.may_grow = self._may_grow
        self._subscription.hand.grow = self._grow
        self._grow()
        try:
            async with anyio.create_task_group() as watching:
                watching.start_soon(self._watch_signals)
                if stop is not None:
                    watching.start_soon(self._watch, stop)
                await self._ended.wait()
                watching.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._cancel_handlers()
        if self._fault:
            raise self._fault

    # -- when to stop

    async def _watch(self, stop: anyio.Event) -> None:
        await stop.wait()
        await self._stop()

    async def _stop(self) -> None:
        self._subscription.stop()
        await anyio.sleep(self._cfg.grace)
        self._ended.set()

    async def _watch_signals(self) -> None:
        # Where a signal has a handler, the program around this one decides when to stop.
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        ):
            return
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async with anyio.create_task_group() as stopping:
                async for _ in signals:
                    stopping.start_soon(self._stop)

    async def _cancel_handlers(self) -> None:
        # No handler begins any more: nobody would end it.
        self._ended.set()
        self._subscription.stop()
        for task in self._tasks:
            task.cancel()
        with anyio.move_on_after(_SECONDS_TO_CANCEL):
            for task in list(self._tasks):
                await task.wait()
        left = sum(not task.done for task in self._tasks)
        if left:
            logger.error(
                "%d handlers of group %r ignore that they are cancelled, and are left behind.", left, self._cfg.group
            )

    # -- handling

    def _may_grow(self) -> bool:
        return self._handling < self._cfg.concurrency and not self._ended.is_set()

    def _grow(self) -> None:
        self._handling += 1
        self._tasks.add(spawn(self._handle_all, name="papyra-streams handler", context=self._context.copy()))

    async def _handle_all(self) -> None:
        try:
            while await self._handle_some():
                pass
        except Exception as error:  # noqa: BLE001 -- whoever runs the worker is told
            self._end_with(error)
        finally:
            self._handling -= 1
            if not self._handling:
                self._ended.set()

    async def _handle_some(self) -> bool:
        """Handle what comes until a handler has to be cancelled; tell whether there may be more."""
        batch: list[Delivery] = []
        # One for as many as possible: to make one takes as long as a quick handler.
        with anyio.CancelScope() as scope:
            while not self._ended.is_set() and not scope.cancel_called:
                batch = await self._subscription.hand.take(self._cfg.batch_size or 1)
                if not batch:
                    return False
                await self._handle(batch, scope)
                batch = []
            return not self._ended.is_set()
        # A lost lease leaves nothing open.
        await self._fail(_open(batch), TimeoutError(f"the handler took longer than {self._cfg.timeout} seconds"))
        return True

    async def _handle(self, batch: list[Delivery], scope: anyio.CancelScope) -> None:
        if self._cfg.timeout is not None:
            scope.deadline = anyio.current_time() + self._cfg.timeout
        if len(batch) == 1:
            batch[0].on_lost = scope.cancel
        failure = await self._attempt(batch)
        scope.deadline = inf
        batch[0].on_lost = None
        # A handler may have settled some itself, and others may have taken some over.
        if failure is None:
            self._subscription.settling.acknowledge(_open(batch))
        else:
            await self._fail(_open(batch), failure)

    async def _attempt(self, batch: list[Delivery]) -> BaseException | None:
        """Run the handler; return how it failed, if it did."""
        try:
            await self._call(batch)
        except anyio.get_cancelled_exc_class() as error:
            if not was_cancelled_by_itself():
                raise
            return error
        except _NotAsync:
            raise
        except Exception as error:  # noqa: BLE001 -- a handler may fail in any way; the worker goes on
            return error
        return None

    async def _call(self, batch: list[Delivery]) -> None:
        awaitable = self._handler(batch if self._cfg.batch_size else batch[0])
        if not inspect.isawaitable(awaitable):
            raise _NotAsync(f"The handler must be an async function; {self._handler!r} returned {awaitable!r}.")
        returned = await awaitable
        if returned is not None and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The handler of group %r returned %r, which means nothing: what returns is acknowledged, what raises is"
                " delivered again.",
                *(self._cfg.group, returned),
            )

    async def _fail(self, deliveries: Sequence[Delivery], failure: BaseException) -> None:
        if not deliveries:
            return
        self._metrics.handler_errors += len(deliveries)
        first = deliveries[0]
        logger.warning(
            "The handler of group %r failed with %d entries, the first of them %s of %s in attempt %d: %r",
            *(self._cfg.group, len(deliveries), first.id, first.source.stream, first.attempt, failure),
            exc_info=failure,
        )
        await self._subscription.settling.give_back(deliveries, None, repr(failure))

    def _end_with(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._subscription.stop()
        self._ended.set()


def _open(batch: list[Delivery]) -> list[Delivery]:
    return [delivery for delivery in batch if delivery.state is State.OPEN]
