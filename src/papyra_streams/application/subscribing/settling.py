"""Settling deliveries on the server: acknowledged in batches, given back with a delay, put in quarantine."""

import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import inf

import anyio

from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.application.outages import OUTAGES, Outage, pause, until_answered
from papyra_streams.domain.groups import RELEASED
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.errors import GroupMissing, Indeterminate, StreamsError
from papyra_streams.ports import DeadEntry, Delivered, Settled, StreamStore
from papyra_streams.tasks import DetachedTask, spawn

from .delivery import DELIVERED_TOO_OFTEN, Delivery, State
from .hand import Hand
from .quarantining import Quarantining
from .source import Source

logger = logging.getLogger("papyra_streams")

# One step on the server; bounded, so that nobody else waits for long. What is put in quarantine is copied whole.
BATCH = 1000
_BATCH_TO_BURY = 100
# Beyond this the wait has long reached its limit.
_MOST_DOUBLINGS = 60
# What a quarantine shows of a reason, and of an exception.
_LONGEST_TEXT = 2000
# So long idle that whoever looks next takes it.
_FOR_ANYBODY_MS = 2**31 - 1
_DOING = {
    State.ACKNOWLEDGED: "Acknowledging",
    State.RETURNED: "Giving back",
    State.REJECTED: "Putting in quarantine",
    State.OPEN: "Delivering again",
}


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
        self._outages: dict[tuple[Source, State], Outage] = {}
        self._ending = anyio.Event()
        self._handled: defaultdict[Source, list[Delivery]] = defaultdict(list)
        self._acknowledging: dict[Source, DetachedTask[None]] = {}
        self._tasks: defaultdict[Source, dict[object, DetachedTask[None]]] = defaultdict(dict)
        # When each of those that wait here is to be delivered again.
        self._kept: dict[Delivery, float] = {}
        self.gives_back_abandoned = True
        """Whether a delivery whose ``async with`` is cancelled is given back, or left to the worker around it."""
        self.redeliver: Callable[[Delivered], object] = lambda _: None
        """Makes a delivery of what is in hand and was given anew."""
        self.step_back: Callable[[Sequence[Delivery], Sequence[Delivery]], object] = lambda _, __: None
        """Is told of deliveries that were lost; reads others again that were let go of and never handed out."""
        self.fail: Callable[[Exception], object] = lambda _: None
        """Called with what waiting does not mend."""

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge some, together with others; they are concluded when the server has answered."""
        for delivery in deliveries:
            delivery.state = State.SETTLING
            self._handled[delivery.source].append(delivery)
        # Each stream by itself, since the node of a cluster that one is on may be away while those of others are not.
        for source in self._handled:
            task = self._acknowledging.get(source)
            if task is None or task.done:
                call = partial(self._acknowledge_all, source)
                self._acknowledging[source] = spawn(call, name="papyra-streams acknowledge")

    async def give_back(self, deliveries: Sequence[Delivery], delay: float | None, error: str) -> None:
        """Have some delivered again, after a delay, or put in quarantine where that was the last attempt."""
        for task in self.begin_to_give_back(deliveries, delay, error):
            await task.wait()

    async def bury(self, deliveries: Sequence[Delivery], reason: str, error: str) -> None:
        """Put some in quarantine."""
        for task in self._begin_to_bury(deliveries, reason, error):
            await task.wait()

    async def bury_unseen(self, source: Source, dead: Sequence[DeadEntry]) -> None:
        """Put entries in quarantine that were never in hand.

        :raises StreamsError: what does not go away by waiting
        """
        for first in range(0, len(dead), _BATCH_TO_BURY):
            some = dead[first : first + _BATCH_TO_BURY]
            call = partial(self._quarantining.bury, source, some)
            outcome, doubtful = await self._answer(call, self._outage(source, State.REJECTED))
            # What is gone since an attempt whose answer was lost went by that attempt.
            there = {*outcome.done, *outcome.gone} if doubtful else {*outcome.done}
            self._quarantining.note(source, [entry for entry in some if entry.id in there])

    def abandon(self, delivery: Delivery) -> None:
        """Give one back whose ``async with`` was cancelled; the caller cannot wait for it."""
        if self.gives_back_abandoned:
            self._begin(delivery.source, partial(self._give_back_abandoned, delivery))

    def lose(self, deliveries: Sequence[Delivery]) -> None:
        """Let go of deliveries that are somebody else's now; and of those behind them in order, to read these again."""
        behind = list({*self._hand.behind(deliveries)} - {*deliveries})
        # At once, before any of those has its turn.
        concluded = self._hand.conclude([*deliveries, *behind], State.LOST)
        self.step_back(deliveries, behind)
        lost = {*concluded} - {*behind}
        self._metrics.leases_lost += len(lost)
        if lost:
            logger.warning(
                "%d entries in hand of group %r are another consumer's now, or the group was lost.",
                *(len(lost), self._cfg.group),
            )

    def end(self) -> None:
        """Try no longer than once to settle what is decided."""
        self._ending.set()

    async def finish(self, source: Source) -> None:
        """Settle what is decided of a stream, and hand the rest over to whoever takes it first."""
        self.end()
        acknowledging = [self._acknowledging[source]] if source in self._acknowledging else []
        for task in [*self._tasks[source].values(), *acknowledging]:
            await task.wait()
        # Each has failed, and is to be left alone for a while; but in order, the next leader takes it at once.
        now = anyio.current_time()
        kept = {one: max(0.0, due - now) for one, due in self._kept.items() if one.source is source}
        await self._release({one: wait for one, wait in kept.items() if one.state is State.RETURNED})
        await self._hand_over(dict.fromkeys(self._hand.of(source), _FOR_ANYBODY_MS), counted=False)

    def begin_to_give_back(
        self, deliveries: Sequence[Delivery], delay: float | None, error: str
    ) -> list[DetachedTask[None]]:
        """Begin what `give_back` does, which takes as long as the server is away."""
        most = inf if self._cfg.max_deliveries is None else self._cfg.max_deliveries
        last = [delivery for delivery in deliveries if delivery.attempt >= most]
        others = [delivery for delivery in deliveries if delivery.attempt < most]
        waits = {one: self._backoff(one.attempt) if delay is None else delay for one in others}
        # In order, what is behind an entry waits with it.
        longest = self._cfg.claim_idle if self._cfg.ordering == "none" else -1.0
        short = {delivery: wait for delivery, wait in waits.items() if wait <= longest}
        for delivery, wait in waits.items():
            if delivery not in short:
                self._hand.keep(delivery)
                self._kept[delivery] = anyio.current_time() + wait
                self._begin(delivery.source, partial(self._keep, delivery, wait))
        _mark(short, State.RETURNING)
        releases = [
            self._begin(source, partial(self._release, {one: short[one] for one in some}))
            for source, some in _by_source(short).items()
        ]
        return self._begin_to_bury(last, DELIVERED_TOO_OFTEN, error) + releases

    def _begin_to_bury(self, deliveries: Sequence[Delivery], reason: str, error: str) -> list[DetachedTask[None]]:
        _mark(deliveries, State.SETTLING)
        return [
            self._begin(source, partial(self._bury, source, some, _sendable(reason), _sendable(error)))
            for source, some in _by_source(deliveries).items()
        ]

    # -- in tasks of their own

    async def _give_back_abandoned(self, delivery: Delivery) -> None:
        # Where all of the subscription was cancelled it is ending by now, and hands over what is open.
        if delivery.is_open and not self._ending.is_set():
            await self.give_back([delivery], None, "cancelled")

    async def _acknowledge_all(self, source: Source) -> None:
        while deliveries := self._handled.pop(source, None):
            for some in _steps(deliveries):
                ids = [delivery.entry_id for delivery in some]
                done = await self._settle(some, partial(self._store.settle, source.member, ids), State.ACKNOWLEDGED)
                self._metrics.entries_acknowledged += len(done)

    async def _bury(self, source: Source, deliveries: Sequence[Delivery], reason: str, error: str) -> None:
        for some in _steps(deliveries, _BATCH_TO_BURY):
            dead = [DeadEntry(id=one.entry_id, attempts=one.attempt, reason=reason, error=error) for one in some]
            done = await self._settle(some, partial(self._quarantining.bury, source, dead), State.REJECTED)
            there = {delivery.entry_id for delivery in done}
            self._quarantining.note(source, [entry for entry in dead if entry.id in there])

    async def _release(self, waits: Mapping[Delivery, float]) -> None:
        idle_ms = {one: max(0, self._cfg.claim_idle_ms - round(wait * 1000)) for one, wait in waits.items()}
        await self._hand_over(idle_ms, counted=True)

    async def _hand_over(self, idle_ms: Mapping[Delivery, int], *, counted: bool) -> None:
        for some in _steps([*idle_ms]):
            idle = {delivery.entry_id: idle_ms[delivery] for delivery in some}
            call = partial(self._store.release, some[0].source.member, idle, to=RELEASED, counted=counted)
            await self._settle(some, call, State.RETURNED)

    async def _keep(self, delivery: Delivery, delay: float) -> None:
        """Keep one in hand until it is to be delivered again, by whatever worker where the order does not matter."""
        is_ordered = self._cfg.ordering != "none"
        left_to_others = 0.0 if is_ordered else self._cfg.claim_idle
        await pause(delay - left_to_others, self._ending)
        if self._ending.is_set():
            return
        del self._kept[delivery]
        if delivery.is_lost:
            return
        if is_ordered:
            await self._deliver_again(delivery)
        else:
            await self._release({delivery: left_to_others})

    async def _deliver_again(self, delivery: Delivery) -> None:
        source = delivery.source
        try:
            again = await until_answered(
                partial(self._store.take_again, source.member, [delivery.entry_id]),
                self._outage(source, State.OPEN),
                ending=self._ending,
                note=lambda _: self._hand.strand([delivery]),
            )
        except GroupMissing:
            self.lose([delivery])
            return
        except StreamsError as error:
            if not self._ending.is_set():
                self._hand.conclude([delivery], State.RETURNED, error)
                self.fail(error)
            return
        for one in again:
            new = self.redeliver(one)
            if isinstance(new, Delivery):
                self._hand.replace(new)
                return
        self.lose([delivery])

    async def _settle(
        self, deliveries: Sequence[Delivery], call: Callable[[], Awaitable[Settled]], state: State
    ) -> list[Delivery]:
        """Let go of a stream's deliveries by what the server answers; return those that came into the state wanted."""
        try:
            outcome, doubtful = await self._answer(call, self._outage(deliveries[0].source, state), deliveries)
        except GroupMissing:
            self.lose(deliveries)
            return []
        except Exception as error:  # noqa: BLE001 -- whoever waits for them is told, and they are free to be read again
            self._give_up(deliveries, state, error)
            return []
        failed = {*outcome.taken, *outcome.gone}
        if doubtful:
            # What is gone since an attempt whose answer was lost went by that attempt; so is what was released.
            failed = set() if state is State.RETURNED else {*outcome.taken}
        if failed:
            self.lose([delivery for delivery in deliveries if delivery.entry_id in failed])
        return self._hand.conclude([one for one in deliveries if one.entry_id not in failed], state)

    def _give_up(self, deliveries: Sequence[Delivery], state: State, error: Exception) -> None:
        self._hand.conclude(deliveries, State.RETURNED, error)
        logger.error(
            "%s %d entries of group %r failed; they are pending until a worker takes them anew: %s",
            *(_DOING[state], len(deliveries), self._cfg.group, error),
        )
        if not isinstance(error, OUTAGES):
            self.fail(error)

    async def _answer(
        self, call: Callable[[], Awaitable[Settled]], outage: Outage, deliveries: Sequence[Delivery] = ()
    ) -> tuple[Settled, bool]:
        """Return what the server answers, and whether an earlier attempt may have been carried out."""
        doubts: list[StreamsError] = []

        def note(error: StreamsError) -> None:
            self._hand.strand(deliveries)
            if isinstance(error, Indeterminate):
                doubts.append(error)

        outcome = await until_answered(call, outage, ending=self._ending, note=note)
        return outcome, bool(doubts)

    def _outage(self, source: Source, state: State) -> Outage:
        # One node of a cluster may be away, and one thing refused, as for want of memory, while others go on.
        if (source, state) not in self._outages:
            self._outages[source, state] = Outage(f"{_DOING[state]} entries of group {self._cfg.group!r}")
        return self._outages[source, state]

    def _begin(self, source: Source, function: Callable[[], Awaitable[None]]) -> DetachedTask[None]:
        key, tasks = object(), self._tasks[source]

        async def run() -> None:
            try:
                await function()
            finally:
                tasks.pop(key, None)

        task = spawn(run, name="papyra-streams settle")
        # Some event loops begin a task at once, and it may have ended.
        if not task.done:
            tasks[key] = task
        return task

    def _backoff(self, attempt: int) -> float:
        longest = min(self._cfg.backoff * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS), self._cfg.longest_backoff)
        return longest * random.uniform(0.5, 1)  # noqa: S311 -- nothing is secured by it


def _sendable(text: str) -> str:
    """Return a text as it can be stored: of a bounded length, and in UTF-8, which not all of Python's texts have."""
    return text[:_LONGEST_TEXT].encode(errors="backslashreplace").decode()


def _mark(deliveries: Iterable[Delivery], state: State) -> None:
    for delivery in deliveries:
        delivery.state = state


def _by_source(deliveries: Iterable[Delivery]) -> Mapping[Source, list[Delivery]]:
    by_source: defaultdict[Source, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_source[delivery.source].append(delivery)
    return by_source


def _steps(deliveries: Sequence[Delivery], size: int = BATCH) -> Iterator[Sequence[Delivery]]:
    for first in range(0, len(deliveries), size):
        yield deliveries[first : first + size]
