"""Writing to a stream."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerMark:
    """Which records of which producer a batch holds, so that the server can tell those it already has.

    A producer numbers its records from 1, without a gap in what it sends. ``key`` lies in the stream's cluster slot and
    expires after ``lifetime`` seconds without a batch; ``first`` is the number of the batch's first record.
    """

    key: str
    first: int
    lifetime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the server is to have done with a batch before it answers.

    ``fsync`` -- written it to its append-only file and synced that to disk (WAITAOF)
    ``replicas`` -- heard from so many replicas that they have it (WAIT)
    ``timeout_ms`` -- for how many milliseconds it may be waited for; where both are asked for, for each in turn
    """

    fsync: bool = False
    replicas: int = 0
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of a batch: how many of its records this call added, and whether the confirmation asked for came.

    Records that are not confirmed in time are in the stream all the same.
    """

    count: int
    confirmed: bool = True


class AppendPort(ABC):
    """Appends batches to a stream."""

    @abstractmethod
    async def append(
        self, stream: str, payloads: Sequence[bytes], *, mark: ProducerMark, confirmation: Confirmation | None = None
    ) -> Appended:
        """Append one entry per payload, in order and in one atomic step, under ids the server gives out.

        The payload is the entry's one field, ``data``. There is at least one. Those whose numbers the mark shows to
        have been appended before are left out, however they were divided into batches then. A confirmation is asked for
        in the same round trip; a server that cannot give it has appended the batch and does not confirm it.
        """
