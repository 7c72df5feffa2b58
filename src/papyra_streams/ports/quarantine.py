"""Entries that were given up: kept whole beside their stream, until somebody replays or drops them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from papyra_streams.domain.entries import EntryId, RawEntry

from .deliveries import DeadEntry, Member, Settled


@dataclass(frozen=True, slots=True)
class Replayed:
    """How an entry came back: ``pending`` for its group, under its old id, or ``appended`` to the stream as ``id``."""

    how: Literal["pending", "appended"]
    id: EntryId


class QuarantinePort(ABC):
    """Keeps what was given up. A quarantine that does not exist is empty."""

    @abstractmethod
    async def bury(self, member: Member, dead: Sequence[DeadEntry], *, quarantine: str, moment: float) -> Settled:
        """Copy those that this consumer holds whole to a quarantine, and acknowledge them, in one step.

        The copy has the fields that `MaintenancePort.retire` writes, and ``group``, ``attempts`` and ``error``. The
        entry itself stays in the stream, which is also other groups' and the history's. How far the group has finished
        is saved. One that the stream no longer has is acknowledged only.

        :raises GroupMissing: if there is no such group
        """

    @abstractmethod
    async def quarantined(self, quarantine: str, *, count: int, after: EntryId) -> list[RawEntry]:
        """Return the first ``count`` entries of a quarantine after an id, as they are stored."""

    @abstractmethod
    async def replay(
        self,
        stream: str,
        quarantine: str,
        quarantined: EntryId,
        *,
        to: str,
        state: str | None = None,
        data: bytes | None = None,
    ) -> Replayed | None:
        """Put an entry back and take it out of the quarantine, in one step; None if it is not there (any more).

        If its group is there, and the stream still has the entry, the group gets it again, and nobody else: it is
        pending for the consumer ``to``, idle for long, and without attempts. Otherwise its fields are appended to
        the stream anew, and ``replay_of`` with its old id.

        :param state: as in `Member`, of the group that gave it up: what it gets again, it is known not to have finished
        :param data: what its field ``data`` is to hold from now on; the entry is appended anew then, whoever gave it up
        """

    @abstractmethod
    async def drop(self, quarantine: str, ids: Sequence[EntryId]) -> int:
        """Remove entries from a quarantine for good; return how many there were."""
