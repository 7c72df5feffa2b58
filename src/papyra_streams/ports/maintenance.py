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
    """A group that holds compaction back.

    ``needs`` -- the oldest entry it has yet to be given or to acknowledge
    ``consumer`` -- who holds that entry; None if nobody was given it
    ``age_ms`` -- for how many milliseconds the entry has been in the stream, by its id and the server's clock
    """

    stream: str
    group: str
    needs: EntryId
    consumer: str | None
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandonment:
    """When a group no longer counts: if none of its consumers was heard of for so many milliseconds.

    That is judged by what trims have noted: one sees that the group is behind, and another one, so much later, that it
    has been given nothing since, and nobody was heard of. What servers tell of consumers is not enough: it means
    nothing after a server was away, or has taken another one's place. Trims that are further apart begin anew.

    ``notes`` -- a key in the stream's cluster slot, for that
    """

    after_ms: int
    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimOutcome:
    """What a step of a trim did.

    ``removed`` -- how many entries went
    ``obstacle`` -- the group that kept it from going further, if one did
    ``abandoned`` -- groups that did not count any more, and had yet to be given or to acknowledge something that went
    ``is_unfinished`` -- whether there is more to be done, by another step
    """

    removed: int
    obstacle: Obstacle | None
    abandoned: frozenset[str] = frozenset()
    is_unfinished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a group still needs.

    ``needs`` -- the oldest entry it has yet to be given or to acknowledge; None if it has had everything
    ``consumer`` -- who holds that entry; None if nobody was given it
    ``silence_ms`` -- for how long none of its consumers was heard of, as the server tells; None if it has none
    ``is_abandoned`` -- whether it no longer counts
    """

    group: str
    needs: EntryId | None
    consumer: str | None
    silence_ms: int | None
    is_abandoned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What the groups of a stream still need, at one moment: ``moment_ms`` on the server's clock."""

    moment_ms: int
    groups: Sequence[Demand]


@dataclass(frozen=True, slots=True, kw_only=True)
class DanglingPage:
    """Some of a group's pending entries, looked at in order.

    ``ids`` -- those that the stream no longer has
    ``examined`` -- how many were looked at
    ``last`` -- the last of these, if there may be more behind it
    """

    ids: Sequence[EntryId]
    examined: int
    last: EntryId | None


class MaintenancePort(ABC):
    """Removes entries in steps, each of them atomic and short, and tells what stands against it."""

    @abstractmethod
    async def retire(
        self, stream: str, bad: Sequence[BadEntry], *, quarantine: str | None, moment: float
    ) -> Sequence[EntryId]:
        """Take bad entries out of the stream and off every group's pending list, in one step.

        With ``quarantine``, a key in the stream's cluster slot, each is first copied there whole: the fields
        ``source``, ``id``, ``reason`` and ``timestamp`` (``moment``, in seconds since the epoch), ``group`` and
        ``attempts`` if it is pending (of the group that was given it most often), then its own in their order and byte
        for byte, each name behind ``field:``; of an entry with more than 2500 fields, all of them as one MessagePack
        list in the field ``fields``. An entry that is no longer in the stream is left out, so that a repeated call
        changes nothing.

        :return: those that were taken out
        """

    @abstractmethod
    async def trim(
        self,
        stream: str,
        *,
        keep_from: EntryId,
        approximate: bool,
        abandonment: Abandonment | None = None,
    ) -> TrimOutcome:
        """Remove some of the entries older than ``keep_from``, but none that a group still needs.

        It needs what it has yet to be given or to acknowledge. What it has pending that the stream no longer has is
        taken off its list, and holds nothing back.

        :param approximate: leave more in place where that is cheaper for the server
        :param abandonment: what a group that no longer counts would have kept goes, and is taken off its pending list;
            None: all groups count
        """

    @abstractmethod
    async def demands(self, stream: str, *, abandonment: Abandonment | None = None) -> Demands:
        """Return what each group still needs; write nothing. A missing stream has no groups."""

    @abstractmethod
    async def dangling(self, stream: str, group: str, *, count: int, after: EntryId, forget: bool) -> DanglingPage:
        """Look at up to ``count`` of a group's pending entries after an id, for such as the stream no longer has.

        It looks at fewer where they are large, but at least one.

        :param forget: take those off the pending list
        :raises GroupMissing: if there is no such stream or group
        """
