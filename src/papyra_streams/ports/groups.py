"""Consumer groups: who was given which entry, and what is still to be acknowledged."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from papyra_streams.domain.entries import Entry, EntryId


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingState:
    """What a group was given and has not acknowledged: how many, from which to which, and per consumer."""

    count: int
    oldest: EntryId | None
    newest: EntryId | None
    consumers: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """One group of a stream. ``last_delivered`` is the newest entry that any of its consumers was given."""

    name: str
    consumers: int
    pending: int
    last_delivered: EntryId


class GroupPort(ABC):
    """Keeps consumer groups. Unless said otherwise, a missing stream or group raises `GroupMissing`."""

    @abstractmethod
    async def create_group(self, stream: str, group: str, *, start: str) -> None:
        """Create a group, and the stream if need be.

        :param start: an entry id after which it begins, ``"0"`` for the beginning, ``"$"`` for new entries only
        :raises GroupExists: if the stream has a group of this name
        """

    @abstractmethod
    async def read_group(
        self, stream: str, group: str, consumer: str, *, count: int, after: str = ">", block_ms: int | None = None
    ) -> list[Entry]:
        """Give up to ``count`` entries to a consumer, oldest first; they stay pending until acknowledged.

        A caller that is cancelled while the server holds the call back loses nothing: what the call delivers is
        handed to the next call with the same stream, group, consumer and ``after``.

        :param after: ``">"`` for entries given to nobody yet; an id for this consumer's own pending ones after it,
            among them, with ``fields`` None, such as the stream no longer has
        :param block_ms: how long the server waits for an entry nobody was given, if there is none; 0 and None do not
        """

    @abstractmethod
    async def acknowledge(self, stream: str, group: str, ids: Sequence[EntryId]) -> int:
        """Take entries off the group's pending list; return how many were on it. A missing group has none."""

    @abstractmethod
    async def claim(
        self, stream: str, group: str, consumer: str, *, min_idle_ms: int, ids: Sequence[EntryId]
    ) -> list[Entry]:
        """Give pending entries that nobody has touched for ``min_idle_ms`` to another consumer.

        Returned are those that were claimed and that the stream still has, in the order asked for; one that it no
        longer has is taken off the pending list.
        """

    @abstractmethod
    async def pending(self, stream: str, group: str) -> PendingState:
        """Summarise the group's pending list."""

    @abstractmethod
    async def groups(self, stream: str) -> list[GroupState]:
        """Return every group of the stream; none if there is no stream."""

    @abstractmethod
    async def lag(self, stream: str, group: str) -> int | None:
        """Return how many entries the group was not given yet, or None while the server cannot tell.

        :raises UnsupportedOperation: without the capability ``lag``
        """
