"""Who belongs to a consumer group, who leads it, and how it stands."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from papyra_streams.domain.entries import EntryId

from .deliveries import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerState:
    """One consumer of a group: how much it holds, and when it was last heard of, in milliseconds.

    ``idle_ms`` -- since it last asked for anything
    ``inactive_ms`` -- since it was last given anything; None where the server does not tell (before Redis 7.2)
    """

    name: str
    pending: int
    idle_ms: int
    inactive_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEntry:
    """An entry of the pending list: who holds it, since when nobody has touched it, and its deliveries so far."""

    id: EntryId
    consumer: str
    idle_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStanding:
    """How a group stands, at one moment.

    ``length`` -- entries in the stream
    ``lag`` -- entries it was not given yet; None where the server cannot tell
    ``pending`` -- entries it was given and has not acknowledged
    ``oldest_pending`` -- the oldest of them
    ``moment_ms`` -- the server's clock, in milliseconds since the epoch
    """

    length: int
    lag: int | None
    pending: int
    last_delivered: EntryId
    oldest_pending: EntryId | None
    moment_ms: int


class MembershipPort(ABC):
    """Keeps consumers. A missing stream or group raises `GroupMissing`, unless said otherwise."""

    @abstractmethod
    async def lead(self, member: Member, *, lease_ms: int) -> bool:
        """Become the group's leader on this stream, or stay it, for so long; tell whether this consumer is it."""

    @abstractmethod
    async def leave(self, member: Member, *, idle_ms: int = 0) -> bool:
        """Remove a consumer that holds nothing and was last heard of at least so long ago; tell whether it is gone.

        If it was the leader, it is no longer, also where it stays; but where it has to have been idle, a leader counts
        as heard of just now, and stays what it is. One that is not there is gone, also where its group is.
        """

    @abstractmethod
    async def consumers(self, stream: str, group: str) -> list[ConsumerState]:
        """Return every consumer of the group."""

    @abstractmethod
    async def pending_entries(self, stream: str, group: str, *, count: int, after: EntryId) -> Sequence[PendingEntry]:
        """Return the first ``count`` entries of the pending list after an id; fewer only where there are no more."""

    @abstractmethod
    async def standing(self, stream: str, group: str) -> GroupStanding:
        """Return how the group stands."""
