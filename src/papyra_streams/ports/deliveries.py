"""Deliveries: giving entries to a group's consumers, for as long as they hold them, until they are settled.

A consumer holds an entry on a lease: it is on the group's pending list under the consumer's name, and nobody claims it
until it has been idle for too long. Each method is one atomic step on the server, for one group of one stream; only
`take` reads several. A missing stream or group raises `GroupMissing`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from papyra_streams.domain.entries import Entry, EntryId


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One consumer of one group on one stream, and the keys beside the stream that its group has to itself.

    ``state`` -- a hash: how far the group is known to have finished, and where the search for stuck entries goes on
    ``pause`` -- while this key exists, the group's stuck entries need not be looked for
    ``leader`` -- names the consumer that alone reads, where the order matters
    """

    stream: str
    group: str
    consumer: str
    state: str
    pause: str
    leader: str


class Delivered(NamedTuple):
    """An entry given to a consumer: the how manieth time, and for how many milliseconds nobody had touched it before.

    ``attempt`` is counted by the server, 1 for the first time. ``entry.fields`` is never None.
    """

    stream: str
    entry: Entry
    attempt: int
    idle_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of entries a consumer wanted to settle, or keep.

    ``done`` -- those that were its own; also those that were deleted from the stream, which nobody else can have
    ``gone`` -- those that are pending for nobody: acknowledged before, or the group was created anew
    ``taken`` -- those that another consumer has claimed; nothing was done with them
    """

    done: frozenset[EntryId] = frozenset()
    gone: frozenset[EntryId] = frozenset()
    taken: frozenset[EntryId] = frozenset()


@dataclass(frozen=True, slots=True)
class Joined:
    """How a consumer found its group: ``found``, ``created`` for the first time, or ``restored`` since it was lost.

    ``after`` -- a group that was created or restored goes on with the first entry after this one
    """

    how: Literal["found", "created", "restored"]
    after: EntryId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEntry:
    """An entry that a group gives up, how often it was delivered, and why."""

    id: EntryId
    attempts: int
    reason: str
    error: str


class DeliveryPort(ABC):
    """Gives out entries and keeps track of who holds them."""

    def place(self, stream: str) -> int:  # noqa: ARG002 -- one server has all streams
        """Return where a stream lies: one call of `take` reads streams of one place."""
        return 0

    @abstractmethod
    async def join(
        self, member: Member, *, start: str, on_loss: Literal["resume", "replay", "fail"], expected: bool
    ) -> Joined:
        """See to it that the group is there, and that it is known how far it has finished.

        A group that is missing was lost if it is ``expected``, or if it is known how far it had finished; otherwise it
        is created for the first time, after ``start`` (an id, ``"0"`` or ``"$"``). A lost one is restored: with
        ``resume`` after the last entry before which everything is known to be finished, with ``replay`` after 0-0. It
        is also after 0-0 if that is not known, or lies beyond the stream's last id, as after the stream was deleted.

        :raises GroupMissing: if it was lost, and ``on_loss`` is ``fail``
        """

    @abstractmethod
    async def take(
        self, members: Sequence[Member], *, count: int, block_ms: int = 0, claim_idle_ms: int | None = None
    ) -> list[Delivered]:
        """Give up to ``count`` entries of each stream to a consumer, oldest first, and wait for the first of them.

        The members differ in their streams only, which lie in one `place`. A call that is cancelled may strand what it
        was given.

        :param block_ms: how long to wait if there is none; 0 does not wait
        :param claim_idle_ms: also give what has been pending and idle for so long, before what nobody was given
        :raises UnsupportedOperation: with ``claim_idle_ms``, without the capability ``claiming_reads``
        """

    @abstractmethod
    async def take_stuck(self, member: Member, *, count: int, min_idle_ms: int, pause_ms: int) -> list[Delivered]:
        """Give up to ``count`` entries that have been idle for so long to a consumer, whoever held them.

        One call looks through the whole pending list, but at no more than 100,000 entries, in short steps; the group's
        next one goes on where this one ended, round and round. An entry that the stream no longer has is taken off the
        list. A call that finds nothing spares the group the next ones: for ``pause_ms`` they return at once with
        nothing, as do those of other consumers meanwhile.
        """

    @abstractmethod
    async def take_pending(
        self, member: Member, *, count: int, after: EntryId, but: Collection[EntryId] = ()
    ) -> list[Delivered]:
        """Give the first ``count`` pending entries after an id to a consumer, in their order, whoever holds them.

        No attempt is counted: ``attempt`` tells how many there were, 0 of an entry that was given back unused. The next
        time that one has had its first. An entry that the stream no longer has is taken off the pending list. Fewer
        than ``count`` are only given where no more are pending.

        :param but: left as they are, and not given, as far as this consumer holds them
        """

    @abstractmethod
    async def take_again(self, member: Member, ids: Sequence[EntryId]) -> list[Delivered]:
        """Count another attempt with entries that this consumer holds, and give them to it anew; no others."""

    @abstractmethod
    async def renew(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        """Begin the idle time anew of those that this consumer holds; attempts are not counted."""

    @abstractmethod
    async def settle(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        """Acknowledge those that this consumer holds, and save how far the group has finished."""

    @abstractmethod
    async def release(self, member: Member, idle_ms: Mapping[EntryId, int], *, to: str, counted: bool) -> Settled:
        """Give those that this consumer holds to the consumer ``to``, as if idle for so many milliseconds each.

        With a large number somebody takes them at once. Unless it is ``counted``, the last attempt is taken back.
        """
