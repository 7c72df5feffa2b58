"""An entry in the hands of a worker."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import Any, Protocol, Self

import anyio

from papyra_streams.domain.arguments import check_number_of_seconds
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.identifiers import shown as shown_id
from papyra_streams.domain.kinds import StreamKind
from papyra_streams.domain.records import Record
from papyra_streams.errors import InvalidValue, LeaseLost
from papyra_streams.ports import DeadEntry, Delivered

from .source import MODELS, PersistedRecord, Source

DELIVERED_TOO_OFTEN = "delivered too often"


class State(Enum):
    """Where a delivery is on its way: in hand, being settled or given back, or no longer this worker's."""

    OPEN = auto()
    SETTLING = auto()
    RETURNING = auto()
    ACKNOWLEDGED = auto()
    RETURNED = auto()
    REJECTED = auto()
    LOST = auto()


def shown(error: BaseException) -> str:
    """Show an exception, whatever its author thinks of that."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001 -- what an exception is made of may be broken, too
        return type(error).__name__


class Settler(Protocol):
    """Carries out what is decided about deliveries."""

    def acknowledge(self, deliveries: Iterable["Delivery"]) -> None:
        """Begin to acknowledge some."""

    async def give_back(self, deliveries: Sequence["Delivery"], delay: float | None, error: str) -> None:
        """Count the attempts as failed: deliver them again after a delay, or put them in quarantine."""

    async def bury(self, deliveries: Sequence["Delivery"], reason: str, error: str) -> None:
        """Put them in quarantine."""

    async def bury_unseen(self, source: Source, dead: Sequence[DeadEntry]) -> None:
        """Put entries in quarantine that were never in hand."""

    def abandon(self, delivery: "Delivery") -> None:
        """Note that whoever had it was cancelled."""


class Delivery:
    """One entry, given to this worker until it is settled: acknowledged, given back, or rejected.

    Its lease is renewed all the while. ``async with delivery:`` acknowledges it at the end, and gives it back where the
    body raises; the exception goes on. Where the body comes to its end and another consumer has the entry by then,
    it raises `LeaseLost`.

    ``data`` -- the record's fields, ``kind`` among them
    ``attempt`` -- the how manieth delivery of this entry to its group this is, from 1, by the server's count
    ``idle_ms`` -- for how many milliseconds nobody had touched it before; 0 the first time
    """

    # As few objects as possible live for each entry in hand: the garbage collector goes through them again and again.
    __slots__ = (
        "_error",
        "_settled",
        "_settler",
        "attempt",
        "data",
        "entry_id",
        "idle_ms",
        "lane",
        "on_lost",
        "source",
        "state",
    )

    def __init__(self, source: Source, record: Record, delivered: Delivered, settler: Settler) -> None:
        """Begin with an entry that the server gave; a subscription does that."""
        self.source = source
        self.entry_id: EntryId = record.id
        self.state = State.OPEN
        self.lane: Hashable = None
        self.on_lost: Callable[[], None] | None = None
        self.data: dict[str, Any] = record.row
        self.attempt = delivered.attempt
        self.idle_ms = delivered.idle_ms
        self._settler = settler
        self._settled: anyio.Event | None = None
        self._error: Exception | None = None

    @property
    def id(self) -> str:
        """The entry's id, as in ``"1700000000000-0"``; of another partition than the first, ``"1700000000000-0@3"``."""
        return shown_id(self.entry_id, self.source.partition.number)

    @property
    def kind(self) -> StreamKind:
        """The stream's kind: events, audits or dead_letters."""
        return self.source.kind.stream

    @property
    def system_id(self) -> str:
        """The actor system whose stream it is."""
        return self.source.system_id

    @property
    def record(self) -> PersistedRecord:
        """The record as Papyra's model."""
        return MODELS[self.source.kind](Record(self.entry_id, self.data, 0), self.source.system_id)

    @property
    def is_lost(self) -> bool:
        """Whether another consumer has taken it over, as far as is known: what is done with it is done twice."""
        return self.state is State.LOST

    @property
    def is_open(self) -> bool:
        """Whether it is still to be settled."""
        return self.state is State.OPEN

    async def ack(self) -> None:
        """Acknowledge it: it is done, and the group never gets it again. Return when the server knows.

        :raises LeaseLost: if another consumer has taken it over; it is theirs then
        :raises InvalidValue: if it was given back or rejected before
        """
        if self.state is State.OPEN:
            self._settler.acknowledge([self])
        if self.state is State.SETTLING:
            await self._wait()
        self._check(State.ACKNOWLEDGED)

    async def nack(self, *, delay: float | None = None) -> None:
        """Give it back, as after a failure: to be delivered again, or put in quarantine after ``max_deliveries``.

        :param delay: how long it is left alone, in seconds; None backs off as the settings say
        :raises LeaseLost: if another consumer has taken it over
        :raises InvalidValue: if it was acknowledged or rejected before
        """
        if delay is not None:
            check_number_of_seconds("delay", delay)
        if self.state is State.OPEN:
            await self._settler.give_back([self], delay, "")
        if self.state in {State.RETURNING, State.SETTLING}:
            await self._wait()
        self._check(State.RETURNED, State.REJECTED)

    async def reject(self, reason: str) -> None:
        """Put it in quarantine at once, with a reason, and never deliver it again unless it is replayed.

        :raises LeaseLost: if another consumer has taken it over
        :raises InvalidValue: if it was acknowledged or given back before
        """
        if not isinstance(reason, str) or not reason.strip():
            raise InvalidValue(f"Give a reason in words, not {reason!r}; it is all that tells others what was wrong.")
        if self.state is State.OPEN:
            await self._settler.bury([self], reason, "")
        if self.state is State.SETTLING:
            await self._wait()
        self._check(State.REJECTED)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.state is State.LOST and error is None:
            # Whoever did the work is to know that it is done twice, whether that was learnt now or before.
            self._check(State.ACKNOWLEDGED)
        if self.state is not State.OPEN:
            return
        if error is None:
            await self.ack()
        elif isinstance(error, Exception):
            await self._settler.give_back([self], None, shown(error))
        else:
            self._settler.abandon(self)

    def conclude(self, state: State, error: Exception | None = None) -> None:
        """Note what became of it, and tell who waits for that; the subscription does so."""
        self.state = state
        self._error = error
        if self._settled:
            self._settled.set()
        if state is State.LOST and self.on_lost:
            self.on_lost()

    async def _wait(self) -> None:
        self._settled = self._settled or anyio.Event()
        await self._settled.wait()

    def _check(self, *wanted: State) -> None:
        if self._error is not None:
            raise self._error
        if self.state is State.LOST:
            raise LeaseLost(
                f"Entry {self.id} of {self.source.stream} is no longer this consumer's: another one of group"
                f" {self.source.member.group!r} has it, or the group was lost."
            )
        if self.state not in wanted:
            raise InvalidValue(
                f"Entry {self.id} of {self.source.stream} was settled before: {self.state.name.lower()}."
            )

    def __repr__(self) -> str:
        """Show which entry this is."""
        return f"<Delivery {self.id} of {self.source.stream}, attempt {self.attempt}, {self.state.name.lower()}>"
