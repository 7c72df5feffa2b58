"""Keeping records on local disk while the server is away."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledBatch:
    """Records of one producer that follow each other, without a gap in their numbers; ``first`` is the first's."""

    producer: str
    first: int
    payloads: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledPage:
    """The oldest records of a stream, divided into batches; those of one producer are in order.

    ``last_position`` -- where in the spool the last of them stands
    """

    batches: Sequence[SpooledBatch]
    last_position: int


class SpoolPort(ABC):
    """A queue on local disk for each stream, first in, first out. Several processes and backends may share it.

    Constructing does no I/O. Every method may be called from any task of one event loop. Positions grow with each
    record and are never given out twice.

    All raise `SpoolFailed` if the disk is full, the spool has reached its bound, or cannot be written or read for now,
    and `SpoolCorrupt` if its file is damaged, or is no spool.
    """

    @abstractmethod
    async def put(self, stream: str, producer: str, first: int, payloads: Sequence[bytes]) -> None:
        """Add records, numbered from ``first``, in one atomic step; return when they are synced to disk."""

    @abstractmethod
    async def newest(self, stream: str) -> int:
        """Return the position of the newest record, or 0 if there is none. A spool that is not there is not made."""

    @abstractmethod
    async def streams(self) -> Sequence[str]:
        """Return the streams of which there are records, by name."""

    @abstractmethod
    async def holds(self, stream: str, producer: str, *, up_to: int) -> bool:
        """Tell whether a record of this producer, or of anybody up to this position, is still there."""

    @abstractmethod
    async def oldest(self, stream: str, *, records: int, size: int) -> SpooledPage | None:
        """Return the oldest records, or None if there are none: at most so many and so many bytes, but at least one.

        Where several producers write at once, a page has one batch of each, not one for each turn they took. The
        records stay until they are removed.
        """

    @abstractmethod
    async def remove(self, stream: str, *, up_to: int) -> None:
        """Remove everything of this stream up to a position.

        Where that fails, this object treats it as removed, and removes it with the next call that can.
        """

    @abstractmethod
    async def count(self, stream: str) -> int:
        """Return how many records there are."""

    @abstractmethod
    async def lead(self) -> bool:
        """Tell whether this object alone is to empty the spool: until it resigns or is closed, or its process ends."""

    @abstractmethod
    async def resign(self) -> None:
        """Let another one empty the spool."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the file; once or more often. What is in it stays."""


SpoolFactory = Callable[[Path, int], SpoolPort]
"""Makes the spool of one file, without I/O, bounded to so many bytes on disk."""
