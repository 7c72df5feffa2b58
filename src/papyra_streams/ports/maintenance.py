"""Removing entries: bad ones one by one, old ones from the front. Streams and groups are never removed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from papyra_streams.domain.entries import EntryId


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that no read can return, and why."""

    id: EntryId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A group that holds compaction back: ``needs`` is the oldest entry it has yet to be given or to acknowledge."""

    stream: str
    group: str
    needs: EntryId


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimOutcome:
    """What one trim did: how many entries went, and the group that kept it from going further, if one did."""

    removed: int
    obstacle: Obstacle | None


class MaintenancePort(ABC):
    """Removes entries in steps, each of them atomic."""

    @abstractmethod
    async def retire(self, stream: str, bad: Sequence[BadEntry], *, quarantine: str | None, moment: float) -> int:
        """Take bad entries out of the stream and off every group's pending list, in one step.

        With ``quarantine``, a key in the stream's cluster slot, each is first copied there whole: the fields
        ``source``, ``id``, ``reason`` and ``timestamp`` (``moment``, in seconds since the epoch), then its own in their
        order and byte for byte, each name behind ``field:``; of an entry with more than 2500 fields, all of them
        as one MessagePack list in the field ``fields``. An entry that is no longer in the stream is left out, so that
        a repeated call changes nothing.

        :return: how many were taken out
        """

    @abstractmethod
    async def trim(self, stream: str, *, keep_from: EntryId, approximate: bool) -> TrimOutcome:
        """Remove entries older than ``keep_from``, but none that a group has yet to be given or to acknowledge.

        What a group has pending that the stream no longer has is taken off its list, and holds nothing back.

        :param approximate: leave more in place where that is cheaper for the server
        """
