"""A worker: handlers around a subscription, so many at a time."""

import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any

import anyio

from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.errors import InvalidValue
from papyra_streams.tasks import DetachedTask, spawn, was_cancelled_by_itself

from .delivery import Delivery, State, shown
from .signals import until_terminated
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
        self._failed = anyio.Event()
        self._fault: BaseException | None = None
        self._too_long = TimeoutError(f"the handler took longer than {self._cfg.timeout} seconds")
        self._has_warned = False

    async def run(self, stop: anyio.Event | None) -> None:
        """Work until the subscription ends; a cancelled worker, and one past its grace, cancels its handlers."""
        self._subscription.settling.gives_back_abandoned = False
        self._subscription.hand.may_grow = self._may_grow
        self._subscription.hand.grow = self._grow
        self._grow()
        try:
            async with anyio.create_task_group() as watching:
                watching.start_soon(self._stop_after, until_terminated)
                watching.start_soon(self._stop_after, self._failed.wait)
                if stop is not None:
                    watching.start_soon(self._stop_after, stop.wait)
                await self._ended.wait()
                watching.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._cancel_handlers()
        if self._fault:
            raise self._fault

    async def _stop_after(self, event: Callable[[], Awaitable[None]]) -> None:
        await event()
        self._subscription.stop()
        await anyio.sleep(self._cfg.grace)
        self._ended.set()

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
        except (_NotAsync, KeyboardInterrupt, SystemExit) as fault:
            # No handler is to begin any more.
            self._fault = self._fault or fault
            self._ended.set()
        except Exception as fault:  # noqa: BLE001 -- whoever runs the worker is told, once the others have finished
            self._fault = self._fault or fault
            self._failed.set()
        finally:
            self._handling -= 1
            if not self._handling:
                self._ended.set()

    async def _handle_some(self) -> bool:
        """Handle what comes until a handler has to be cancelled; tell whether there may be more."""
        batch: list[Delivery] = []
        failure: BaseException | None = None
        # One for as many as possible: to make one takes as long as a quick handler.
        with anyio.CancelScope() as scope:
            while not self._ended.is_set():
                batch = await self._subscription.hand.take(self._cfg.batch_size or 1)
                if not batch:
                    return False
                failure = self._too_long
                failure = await self._handle(batch, scope)
                if scope.cancel_called:
                    # What follows would be cancelled, too.
                    break
                await self._settle(batch, failure)
                batch = []
        if batch:
            await self._settle(batch, failure)
        return not self._ended.is_set()

    async def _handle(self, batch: list[Delivery], scope: anyio.CancelScope) -> BaseException | None:
        """Run the handler, as long as it may take; return how it failed, if it did."""
        if self._cfg.timeout is not None:
            scope.deadline = anyio.current_time() + self._cfg.timeout
        if len(batch) == 1:
            batch[0].on_lost = scope.cancel
        try:
            return await self._attempt(batch)
        finally:
            scope.deadline = inf
            batch[0].on_lost = None

    async def _attempt(self, batch: list[Delivery]) -> BaseException | None:
        try:
            await self._call(batch)
        except (_NotAsync, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except anyio.get_cancelled_exc_class() as error:
            if not was_cancelled_by_itself():
                raise
            return error
        except BaseException as error:  # a handler may fail in any way; the worker goes on
            # Other errors may come along with a cancellation, in a group.
            if self._ended.is_set() and not isinstance(error, Exception):
                raise
            return error
        return None

    async def _settle(self, batch: list[Delivery], failure: BaseException | None) -> None:
        # A handler may have settled some itself, and others may have taken some over.
        left = [delivery for delivery in batch if delivery.state is State.OPEN]
        if failure is None:
            self._subscription.settling.acknowledge(left)
        elif left:
            await self._fail(left, failure)

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
        self._metrics.handler_errors += len(deliveries)
        first = deliveries[0]
        logger.warning(
            "The handler of group %r failed with %d entries, the first of them %s of %s in attempt %d: %s",
            *(self._cfg.group, len(deliveries), first.id, first.source.stream, first.attempt, shown(failure)),
            exc_info=failure,
        )
        await self._subscription.settling.give_back(deliveries, None, shown(failure))
