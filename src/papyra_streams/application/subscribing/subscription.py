"""What a user holds: an open subscription."""

import os
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self
from uuid import uuid4

import anyio

from papyra_streams.application.clock import Clock
from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.application.outages import Outage, pause
from papyra_streams.domain.partitions import address_in
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.errors import GroupMissing, InvalidValue, StreamsError
from papyra_streams.ports import StreamStore
from papyra_streams.tasks import DetachedTask, spawn

from .delivery import Delivery
from .hand import Hand
from .intake import Intake
from .leading import Leading
from .order import AsTheyCome, InLanes, Order
from .quarantining import Quarantining
from .reading import Reading
from .reception import Reception
from .room import Share, shares
from .settling import BATCH, Settling
from .sharing import Sharing
from .source import Source

# Closing must not keep a process from ending where the server does not answer: how long it may take, in seconds.
_CLOSE_TIMEOUT = 5.0

_Renewal = Callable[[], Awaitable[None]]


def unique_consumer() -> str:
    """Make a name that no other worker has: host, process id, and a random part for another of the same process."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"


class Subscription:
    """Deliveries of one consumer group, one by one, for as long as it is open.

    ``async with`` opens it, and hands over at the end what was not settled. ``async for`` waits for the next delivery,
    however long that takes; it ends after `stop`.

    ``consumer`` -- this worker's name in the group
    """

    def __init__(
        self,
        store: StreamStore,
        cfg: SubscriptionConfig,
        consumer: str,
        sources: Sequence[Source],
        metrics: StreamsMetrics,
        clock: Clock,
    ) -> None:
        """Put the parts together; nothing is read yet."""
        self.consumer = consumer
        self.cfg = cfg
        self._store = store
        self._sources = sources
        quarantining = Quarantining(store, metrics, clock)
        self.hand = Hand(cfg.slots, _order(cfg))
        self.settling = Settling(store, cfg, self.hand, quarantining, metrics)
        self._reception = Reception(
            sources, self.hand, self.settling, quarantining, metrics, max_deliveries=cfg.max_deliveries
        )
        self.settling.redeliver = self._reception.again
        self.settling.step_back = self._step_back
        self.settling.fail = self._fail
        self._metrics = metrics
        self._intakes: list[Intake] = []
        self._readings: list[Reading] = []
        self._renewals: list[Sequence[_Renewal]] = []
        self._tasks: list[DetachedTask[None]] = []
        self._still_reading = 0
        self._is_closed = anyio.Event()

    def stop(self) -> None:
        """Read nothing any more: what is in hand can still be taken and settled, then the iteration ends."""
        for reading in self._readings:
            reading.stop()

    async def __aenter__(self) -> Self:
        if self._readings:
            raise InvalidValue("A subscription is opened once; make another one.")
        self._prepare()
        self._still_reading = len(self._readings)
        name = f"papyra-streams read {self.cfg.group}"
        self._tasks = [spawn(partial(self._read, reading), name=name) for reading in self._readings]
        name = f"papyra-streams renew {self.cfg.group}"
        self._tasks += [spawn(partial(self._keep_renewing, renewals), name=name) for renewals in self._renewals]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # At once, before anything else is: what was cancelled with the subscription is handed over by it.
        self.stop()
        self.settling.end()
        self._is_closed.set()
        # asyncio's own cancellation goes through a shield.
        closing = spawn(self._close, name=f"papyra-streams close {self.cfg.group}")
        with anyio.CancelScope(shield=True):
            await closing.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        """Wait for the next delivery.

        :raises StreamsError: what ended the reading, if it was not `stop`
        """
        for delivery in await self.hand.take(1):
            return delivery
        raise StopAsyncIteration

    def _prepare(self) -> None:
        # Each by itself, since the node of a cluster that has one place may be away while those of others are not.
        places: defaultdict[int, list[Source]] = defaultdict(list)
        for source in self._sources:
            places[self._store.place(source.stream)].append(source)
        was_let_in = anyio.Event()
        for sources, share in zip(places.values(), shares(self.hand, [*places.values()]), strict=True):
            self._intakes.append(intake := self._intake(sources, share))
            self._readings.append(Reading(self._store, self.cfg, sources, intake, was_let_in, self._metrics))
            self._renewals.append([intake.renew, *(partial(self._renew_leases, source) for source in sources)])

    def _intake(self, sources: Sequence[Source], share: Share) -> Intake:
        if self.cfg.ordering == "none":
            return Sharing(self._store, self.cfg, sources, share, self._reception)
        return Leading(self._store, self.cfg, sources, share, self._reception, lose=self.settling.lose)

    def _step_back(self, lost: Sequence[Delivery], behind: Sequence[Delivery]) -> None:
        for intake in self._intakes:
            intake.step_back(lost, behind)

    async def _read(self, reading: Reading) -> None:
        fault = await reading.run()
        self._still_reading -= 1
        if fault:
            self._fail(fault)
        elif not self._still_reading:
            self.hand.end()

    def _fail(self, error: Exception) -> None:
        self.stop()
        self.hand.end(error)

    async def _close(self) -> None:
        try:
            with anyio.move_on_after(_CLOSE_TIMEOUT):
                await self._leave()
        finally:
            for task in self._tasks:
                task.cancel()
            self.hand.close()

    async def _leave(self) -> None:
        # One that asks a silent server is not to keep what others gave from going back.
        with anyio.move_on_after(_CLOSE_TIMEOUT / 2):
            for task in self._tasks:
                await task.wait()
        async with anyio.create_task_group() as leaving:
            for source in self._sources:
                leaving.start_soon(self._leave_stream, source)

    async def _leave_stream(self, source: Source) -> None:
        await self.settling.finish(source)
        # Where it fails it is removed with the other idle consumers.
        with suppress(StreamsError):
            await self._store.leave(source.member)

    async def _keep_renewing(self, renewals: Sequence[_Renewal]) -> None:
        try:
            await self._renew(renewals)
        except Exception as error:  # noqa: BLE001 -- without leases, all that is slow would be taken away
            self._fail(error)

    async def _renew(self, renewals: Sequence[_Renewal]) -> None:
        outage = Outage(f"Renewing leases of group {self.cfg.group!r}")
        while not self._is_closed.is_set():
            await pause(self.cfg.renew_interval, self._is_closed)
            failures: list[Exception] = []
            # Together, so that none of them waits for what is refused to another.
            async with anyio.create_task_group() as renewing:
                for renew in renewals:
                    renewing.start_soon(_renew_one, renew, failures)
            for failure in failures:
                if not isinstance(failure, StreamsError):
                    raise failure
            if failures:
                outage.next_delay(failures[0])
            else:
                outage.is_over()

    async def _renew_leases(self, source: Source) -> None:
        held, lost = self.hand.of(source), list[Delivery]()
        for first in range(0, len(held), BATCH):
            some = held[first : first + BATCH]
            outcome = await self._store.renew(source.member, [delivery.entry_id for delivery in some])
            not_own = outcome.taken | outcome.gone
            lost += [delivery for delivery in some if delivery.entry_id in not_own]
        # Together, so that none of them has its turn since one before it is lost.
        self.settling.lose([delivery for delivery in lost if delivery.is_open])


async def _renew_one(renew: _Renewal, failures: list[Exception]) -> None:
    try:
        await renew()
    except GroupMissing:
        # The reading makes it good. Until then nobody else has what is in hand.
        return
    except Exception as error:  # noqa: BLE001 -- a task group would wrap it; it is raised where all have ended
        failures.append(error)


def _order(cfg: SubscriptionConfig) -> Order:
    if cfg.ordering == "none":
        return AsTheyCome()
    return InLanes(_actor_of if cfg.ordering == "actor" else _stream_of)


def _actor_of(delivery: Delivery) -> tuple[str, object]:
    return delivery.source.stream, repr(address_in(delivery.data))


def _stream_of(delivery: Delivery) -> str:
    return delivery.source.stream
