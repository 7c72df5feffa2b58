"""Reading a stream's history, without touching any consumer group."""

from abc import ABC, abstractmethod

from papyra_streams.domain.entries import Entry, EntryId


class ReadPort(ABC):
    """Reads pages of a stream. A stream that does not exist is an empty one."""

    @abstractmethod
    async def newest(self, stream: str, *, count: int, before: EntryId | None = None) -> list[Entry]:
        """Return up to ``count`` entries, newest first; with ``before``, only those strictly older than it."""

    @abstractmethod
    async def oldest(self, stream: str, *, count: int, after: EntryId | None = None) -> list[Entry]:
        """Return up to ``count`` entries, oldest first; with ``after``, only those strictly newer than it."""

    @abstractmethod
    async def count(self, stream: str, *, before: EntryId) -> int:
        """Count the entries older than an id, in short steps; the server goes through all of them."""

    @abstractmethod
    async def length(self, stream: str) -> int:
        """Return how many entries the stream has."""

    @abstractmethod
    async def memory(self, stream: str) -> int | None:
        """Return about how many bytes the stream takes on the server, 0 if there is none; None if it does not say."""
