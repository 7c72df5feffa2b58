"""Writing a stream anew beside itself, and putting the copy in its place.

The copy lies in the stream's cluster slot. Each method is one step, atomic and short; any number of callers may work on
the same copy, and another may go on with it where one has died.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from papyra_streams.domain.entries import EntryId


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStep:
    """How far a copy was after a step: whether it had everything, and how many entries it and the stream had then."""

    is_complete: bool
    copied: int
    records: int


class RebuildingPort(ABC):
    """Copies, compares and swaps streams.

    A method returns None if the stream is gone, or a copy that should be there: somebody else has put it in the
    stream's place, or nobody has worked on it for too long. It then has done nothing.
    """

    @abstractmethod
    async def copy_entries(self, stream: str, copy: str, *, is_begun: bool) -> CopyStep | None:
        """Add to the copy what it lacks behind its newest entry, up to some hundred entries, under their ids.

        :param is_begun: the copy should be there already
        :raises Rejected: at an entry with too many fields to be copied by a script, about 3900
        """

    @abstractmethod
    async def compare(self, stream: str, copy: str, *, after: EntryId | None) -> EntryId | bool | None:
        """Take out of the copy what the stream has lost since, among some hundred entries after an id.

        :return: the last one looked at, if there may be more behind it; True if there are none; False if the copy can
            never become the stream, because it lacks an old entry
        """

    @abstractmethod
    async def swap(
        self, stream: str, copy: str, *, free: str
    ) -> Literal["swapped", "behind", "differs", "pending"] | None:
        """Put the copy in the stream's place, with its groups, and free the memory of the former one.

        Kept are ids, groups and what they were given last, consumers, and pending entries with owner, idle time and
        attempts; when a consumer was last heard of is not, since no server lets it be set. A last few entries are
        copied in the same step. Instead, nothing has changed if the copy is ``behind`` by more than that, ``differs``
        from the stream otherwise, or if there are more than 10,000 ``pending`` entries, which would hold others up.

        :param free: a key in the stream's slot that is not used
        """

    @abstractmethod
    async def discard(self, copy: str) -> None:
        """Remove a copy."""
