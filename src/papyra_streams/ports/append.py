"""Writing to a stream."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerMark:
    """Which batch of which producer this is, so that the server can tell a repeated one.

    ``key`` lies in the stream's cluster slot and expires after ``lifetime`` seconds without a batch;
    ``sequence`` grows by one with each new batch and stays the same when a batch is sent again.
    """

    key: str
    sequence: int
    lifetime: int


class AppendPort(ABC):
    """Appends batches to a stream."""

    @abstractmethod
    async def append(self, stream: str, payloads: Sequence[bytes], *, mark: ProducerMark) -> int:
        """Append one entry per payload, in order and in one atomic step, under ids the server gives out.

        The payload is the entry's one field, ``data``. There is at least one.

        :return: how many entries this call appended: all of them, or 0 if the mark shows that an earlier call did
        """
