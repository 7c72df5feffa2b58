"""A worker: handlers around a subscription, so many at a time."""

import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any

import anyio
import anyio.lowlevel

from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.errors import InvalidValue
from papyra_streams.tasks import DetachedTask, forget_cancellation, spawn

from .delivery import Delivery, State, shown
from .subscription import Subscription

logger = logging.getLogger("papyra_streams")

Handler = Callable[[Any], Awaitable[object]]

# How long handlers have, in seconds, to come to their end once they are cancelled.
_SECONDS_TO_CANCEL = 1.0


# What a program ends with, and is no handler's failure.
_ENDING = (KeyboardInterrupt, SystemExit, GeneratorExit)


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

    async def run(self, *stops: anyio.Event) -> None:
        """Work until the subscription ends, as it does after an event; a cancelled worker cancels its handlers."""
        self._subscription.settling.gives_back_abandoned = False
        self._subscription.hand.may_grow = self._may_grow
        self._subscription.hand.grow = self._grow
        self._grow()
        try:
            async with anyio.create_task_group() as watching:
                for event in (self._failed, self._subscription.hand.failed, *stops):
                    watching.start_soon(self._stop_after, event)
                try:
                    await self._ended.wait()
                finally:
                    # Before handlers are cancelled that are in the same event loop's last moment: no failure of theirs.
                    self._ended.set()
                watching.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._cancel_handlers()
        if fault := self._fault or self._subscription.hand.error:
            raise fault

    async def _stop_after(self, event: anyio.Event) -> None:
        await event.wait()
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
        except (_NotAsync, *_ENDING) as fault:
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
            return await self._attempt(batch, scope)
        finally:
            scope.deadline = inf
            batch[0].on_lost = None

    async def _attempt(self, batch: list[Delivery], scope: anyio.CancelScope) -> BaseException | None:
        try:
            await self._call(batch)
        except (_NotAsync, *_ENDING):
            raise
        except anyio.get_cancelled_exc_class() as error:
            if self._ended.is_set() or scope.cancel_called or not forget_cancellation():
                raise
            # Where all tasks are cancelled, as at the end of an event loop, the worker may be told after this handler.
            await anyio.lowlevel.cancel_shielded_checkpoint()
            if self._ended.is_set():
                raise
            return error
        except BaseExceptionGroup as errors:
            if scope.cancel_called and not errors.split(anyio.get_cancelled_exc_class())[1]:
                raise
            return self._failure_of(errors)
        except BaseException as error:  # noqa: BLE001 -- a handler may fail in any way; the worker goes on
            return error
        return None

    def _failure_of(self, errors: BaseExceptionGroup) -> BaseException:
        if ending := errors.subgroup(_ENDING):
            raise _first_of(ending)
        # A cancellation may be among them.
        if self._ended.is_set() and not isinstance(errors, Exception):
            raise errors
        return errors

    async def _settle(self, batch: list[Delivery], failure: BaseException | None) -> None:
        # A handler may have settled some itself, and others may have taken some over.
        left = [delivery for delivery in batch if delivery.state is State.OPEN]
        if failure is None:
            self._subscription.settling.acknowledge(left)
        elif any(delivery.state is not State.LOST for delivery in batch):
            self._note(left or batch, failure)
            # Not waited for: other streams' entries may have come from other servers.
            self._subscription.settling.begin_to_give_back(left, None, shown(failure))

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

    def _note(self, deliveries: Sequence[Delivery], failure: BaseException) -> None:
        self._metrics.handler_errors += len(deliveries)
        first = deliveries[0]
        logger.warning(
            "The handler of group %r failed with %d entries, the first of them %s of %s in attempt %d: %s",
            *(self._cfg.group, len(deliveries), first.id, first.source.stream, first.attempt, shown(failure)),
            exc_info=failure,
        )


def _first_of(errors: BaseExceptionGroup) -> BaseException:
    first = errors.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
