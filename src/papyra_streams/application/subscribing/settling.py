"""Settling deliveries on the server: acknowledged in batches, given back with a delay, put in quarantine."""

import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import anyio

from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.application.outages import Outage, pause, until_answered
from papyra_streams.domain.groups import RELEASED
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.errors import GroupMissing, StreamsError
from papyra_streams.ports import DeadEntry, Delivered, Settled, StreamStore
from papyra_streams.tasks import DetachedTask, spawn

from .delivery import DELIVERED_TOO_OFTEN, Delivery, State
from .hand import Hand
from .quarantining import Quarantining
from .source import Source

logger = logging.getLogger("papyra_streams")

# One step on the server; bounded, so that nobody else waits for long.
BATCH = 1000
# Beyond this the wait has long reached its limit.
_MOST_DOUBLINGS = 60
# What a quarantine shows of an exception.
_LONGEST_ERROR = 2000
# So long idle that whoever looks next takes it.
_FOR_ANYBODY_MS = 2**31 - 1


class Settling:
    """Carries out what is decided about deliveries, through outages, for as long as the subscription is open.

    It does so in tasks of its own, so that a caller who is cancelled leaves nothing half done.
    """

    def __init__(
        self,
        store: StreamStore,
        cfg: SubscriptionConfig,
        hand: Hand,
        quarantining: Quarantining,
        metrics: StreamsMetrics,
    ) -> None:
        self._store = store
        self._cfg = cfg
        self._hand = hand
        self._quarantining = quarantining
        self._metrics = metrics
        self._outage = Outage(f"Settling entries of group {cfg.group!r}")
        self._ending = anyio.Event()
        self._handled: defaultdict[Source, list[Delivery]] = defaultdict(list)
        self._acknowledging: DetachedTask[None] | None = None
        self._tasks: set[DetachedTask[None]] = set()
        self.gives_back_abandoned = True
        """Whether a delivery whose ``async with`` is cancelled is given back, or left to the worker around it."""
        self.redeliver: Callable[[Delivered], object] = lambda _: None
        """Makes a delivery of what is in hand and was given anew."""

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge some, together with others; they are concluded when the server has answered."""
        for delivery in deliveries:
            delivery.state = State.SETTLING
            self._handled[delivery.source].append(delivery)
        if self._acknowledging is None or self._acknowledging.done:
            self._acknowledging = spawn(self._acknowledge_all, name="papyra-streams acknowledge")

    async def give_back(self, deliveries: Sequence[Delivery], delay: float | None, error: str) -> None:
        """Have some delivered again, after a delay, or put in quarantine where that was the last attempt."""
        most = self._cfg.max_deliveries
        last = [delivery for delivery in deliveries if most is not None and delivery.attempt >= most]
        if last:
            await self.bury(last, DELIVERED_TOO_OFTEN, error)
        waits = {one: self._backoff(one.attempt) if delay is None else delay for one in deliveries if one not in last}
        if self._cfg.ordering == "none":
            short = {one: wait for one, wait in waits.items() if wait <= self._cfg.claim_idle}
        else:
            # What is behind it waits.
            short = {}
        for delivery, wait in waits.items():
            if delivery not in short:
                delivery.conclude(State.RETURNED)
                self._begin(partial(self._keep, delivery, wait))
        if short:
            _mark(short)
            await self._begin(partial(self._release, short)).wait()

    async def bury(self, deliveries: Sequence[Delivery], reason: str, error: str) -> None:
        """Put some in quarantine."""
        _mark(deliveries)
        await self._begin(partial(self._bury, deliveries, reason, error[:_LONGEST_ERROR])).wait()

    def abandon(self, delivery: Delivery) -> None:
        """Give one back whose ``async with`` was cancelled; the caller cannot wait for it."""
        if self.gives_back_abandoned and not self._ending.is_set():
            self._begin(partial(self.give_back, [delivery], None, "cancelled"))

    def lose(self, deliveries: Sequence[Delivery]) -> None:
        """Let go of deliveries that are somebody else's now."""
        self._hand.conclude(deliveries, State.LOST)
        self._metrics.leases_lost += len(deliveries)
        if deliveries:
            logger.warning(
                "%d entries in hand of group %r are another consumer's now, or the group was lost.",
                *(len(deliveries), self._cfg.group),
            )

    async def finish(self) -> None:
        """Settle what is decided, try no longer than once, and hand the rest over to whoever takes it first."""
        self._ending.set()
        for task in [*self._tasks, *filter(None, [self._acknowledging])]:
            await task.wait()
        await self._hand_over(dict.fromkeys(self._hand.all(), _FOR_ANYBODY_MS), counted=False)

    # -- in tasks of their own

    async def _acknowledge_all(self) -> None:
        while self._handled:
            _source, deliveries = self._handled.popitem()
            for source, some in _steps(deliveries):
                ids = [delivery.entry_id for delivery in some]
                await self._settle(some, partial(self._store.settle, source.member, ids), State.ACKNOWLEDGED)

    async def _bury(self, deliveries: Sequence[Delivery], reason: str, error: str) -> None:
        for source, some in _steps(deliveries):
            dead = [DeadEntry(id=one.entry_id, attempts=one.attempt, reason=reason, error=error) for one in some]
            await self._settle(some, partial(self._quarantining.bury, source, dead), State.REJECTED)

    async def _release(self, waits: Mapping[Delivery, float]) -> None:
        idle_ms = {one: max(0, self._cfg.claim_idle_ms - round(wait * 1000)) for one, wait in waits.items()}
        await self._hand_over(idle_ms, counted=True)

    async def _hand_over(self, idle_ms: Mapping[Delivery, int], *, counted: bool) -> None:
        for source, some in _steps(idle_ms):
            idle = {delivery.entry_id: idle_ms[delivery] for delivery in some}
            call = partial(self._store.release, source.member, idle, to=RELEASED, counted=counted)
            await self._settle(some, call, State.RETURNED)

    async def _keep(self, delivery: Delivery, delay: float) -> None:
        """Keep one in hand until it is to be delivered again, by whatever worker where the order does not matter."""
        is_ordered = self._cfg.ordering != "none"
        left_to_others = 0.0 if is_ordered else self._cfg.claim_idle
        await pause(delay - left_to_others, self._ending)
        if self._ending.is_set():
            return
        if is_ordered:
            await self._deliver_again(delivery)
        else:
            await self._release({delivery: left_to_others})

    async def _deliver_again(self, delivery: Delivery) -> None:
        source = delivery.source
        try:
            again = await until_answered(
                partial(self._store.take_again, source.member, [delivery.entry_id]), self._outage, ending=self._ending
            )
        except GroupMissing:
            self.lose([delivery])
            return
        except StreamsError as error:
            if not self._ending.is_set():
                self._hand.conclude([delivery], State.RETURNED, error)
            return
        for one in again:
            new = self.redeliver(one)
            if isinstance(new, Delivery):
                self._hand.replace(new)
                return
        self.lose([delivery])

    async def _settle(self, deliveries: list[Delivery], call: Callable[[], Awaitable[Settled]], state: State) -> None:
        doubtful = False

        def doubt() -> None:
            nonlocal doubtful
            doubtful = True

        try:
            outcome = await until_answered(call, self._outage, ending=self._ending, doubt=doubt)
        except GroupMissing:
            outcome = Settled(gone=[delivery.entry_id for delivery in deliveries])
        except StreamsError as error:
            self._hand.conclude(deliveries, State.RETURNED, error)
            return
        failed = {*outcome.taken, *outcome.gone}
        if doubtful:
            # What is gone since an attempt whose answer was lost went by that attempt; so is what was released.
            failed = set() if state is State.RETURNED else {*outcome.taken}
        done = [delivery for delivery in deliveries if delivery.entry_id not in failed] if failed else deliveries
        self._hand.conclude(done, state)
        self._metrics.entries_acknowledged += len(done) if state is State.ACKNOWLEDGED else 0
        if failed:
            self.lose([delivery for delivery in deliveries if delivery.entry_id in failed])

    def _begin(self, function: Callable[[], Awaitable[None]]) -> DetachedTask[None]:
        task = spawn(function, name="papyra-streams settle")
        self._tasks = {other for other in self._tasks if not other.done} | {task}
        return task

    def _backoff(self, attempt: int) -> float:
        longest = min(self._cfg.backoff * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS), self._cfg.longest_backoff)
        return longest * random.uniform(0.5, 1)  # noqa: S311 -- nothing is secured by it


def _mark(deliveries: Iterable[Delivery]) -> None:
    for delivery in deliveries:
        delivery.state = State.SETTLING


def _steps(deliveries: Iterable[Delivery]) -> Iterator[tuple[Source, list[Delivery]]]:
    """Divide deliveries into steps of one stream each, each of a bounded size."""
    by_source: defaultdict[Source, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_source[delivery.source].append(delivery)
    for source, some in by_source.items():
        for first in range(0, len(some), BATCH):
            yield source, some[first : first + BATCH]
