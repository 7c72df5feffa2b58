"""Papyra's reports, with what a stream can say beyond a file."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from papyra.persistence.models import (
    CompactionReport,
    PersistenceAnomaly,
    PersistenceAnomalyType,
    PersistenceRecoveryReport,
    PersistenceScanReport,
)

from .records import Unreadable

BACKEND = "papyra-streams"

DANGLING = "pending, but no longer in the stream"


@dataclass(frozen=True)
class StreamAnomaly(PersistenceAnomaly):
    """Something a recovery mends: ``path`` is its stream's key, ``detail`` what is wrong in one line.

    ``entry_id`` -- of the entry
    ``reason`` -- why no read can return it; or that it is pending and gone
    ``group`` -- for which group it is pending; empty for an entry that cannot be read

    Where a scan could not be made, ``path`` begins all keys, the reason says why, and there is no entry.
    """

    entry_id: str = ""
    reason: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyCount:
    """How many anomalies of one kind there were; ``group`` as in `StreamAnomaly`."""

    stream: str
    reason: str
    group: str = ""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanWarning:
    """Something that no recovery mends, and that somebody should look at.

    ``subject`` -- a group in which nobody was heard of for long, though it has something to do; consumers that were not
        heard of for long; a quarantine that something was added to lately; partitions, where a stream beyond those that
        are read holds records; or access, where that could not be found out
    ``stream`` -- the stream, or the quarantine
    ``consumers`` -- their names, a few of those not heard of for longest
    ``detail`` -- all of it in one line, with what to do
    """

    subject: Literal["group", "consumers", "quarantine", "partitions", "access"]
    stream: str
    group: str = ""
    consumers: tuple[str, ...] = ()
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an operation has come, when a page is done.

    ``step`` -- what is being done, ``stream`` -- to what
    ``done``, ``total`` -- entries; the total is what there was at the beginning, and may be reached early
    ``found`` -- anomalies so far, in all streams
    """

    step: Literal["scan", "recover", "rebuild"]
    stream: str
    done: int
    total: int
    found: int = 0


OnProgress = Callable[[Progress], Awaitable[None]]
"""Is told how far an operation has come."""


@dataclass(frozen=True)
class StreamsScanReport(PersistenceScanReport):
    """What a scan found.

    ``anomalies`` -- what a recovery mends: up to the limit one by one
    ``counts`` -- all of them, by stream and reason
    ``warnings`` -- what no recovery mends; they are logged too
    ``examined`` -- how many entries were read
    """

    counts: tuple[AnomalyCount, ...] = ()
    warnings: tuple[ScanWarning, ...] = ()
    examined: int = 0

    @property
    def found(self) -> int:
        """How many anomalies there are."""
        return sum(each.count for each in self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """A group that kept compaction from removing more.

    ``needs`` -- the oldest entry it has yet to be given or to acknowledge
    ``consumer`` -- who holds that entry; None if nobody was given it
    ``age`` -- for how many seconds the entry has been in the stream
    """

    stream: str
    group: str
    needs: str
    consumer: str | None
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCompaction:
    """What a compaction did to one stream, or would do.

    ``before_records``, ``after_records`` -- entries in the stream; others may be added meanwhile
    ``before_bytes``, ``after_bytes`` -- what the stream takes on the server, as it estimates it (MEMORY USAGE); None if
        it does not tell. A dry run estimates what would be left by the number of entries
    ``removed_records`` -- how many entries went
    ``held_back`` -- the group that kept it from removing more, if one did
    ``abandoned`` -- groups that did not count, and had yet to be given or to acknowledge something that went
    """

    stream: str
    before_records: int
    after_records: int
    before_bytes: int | None
    after_bytes: int | None
    removed_records: int
    held_back: HeldBack | None = None
    abandoned: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamsCompactionReport(CompactionReport):
    """Records and bytes before and after, over all streams and for each; ``dry_run`` if nothing was removed."""

    streams: tuple[StreamCompaction, ...] = ()
    dry_run: bool = False

    @property
    def removed_records(self) -> int:
        """How many entries went, whatever was added meanwhile."""
        return sum(each.removed_records for each in self.streams)

    @property
    def held_back(self) -> tuple[HeldBack, ...]:
        """The groups that kept it from removing more, at most one for each stream."""
        return tuple(each.held_back for each in self.streams if each.held_back)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOutcome:
    """What became of a stream that was to be written anew.

    ``obstacle`` -- why it was left as it was; empty if it was written anew
    ``records`` -- entries in it
    ``before_bytes``, ``after_bytes`` -- as in `StreamCompaction`
    """

    stream: str
    obstacle: str = ""
    records: int
    before_bytes: int | None
    after_bytes: int | None


@dataclass(frozen=True)
class StreamsRecoveryReport(PersistenceRecoveryReport):
    """What a recovery did; "files" are the keys of streams.

    ``scan`` -- what it found
    ``recovered`` -- what it mended, by stream and reason: entries it took out, references it took off pending lists;
        what another recovery mended meanwhile is not counted, nor what was done by a call whose answer was lost
    ``compaction`` -- what retention removed afterwards; None if the mode is IGNORE
    ``rebuilt`` -- the streams that were to be written anew
    """

    scan: StreamsScanReport
    recovered: tuple[AnomalyCount, ...] = ()
    compaction: StreamsCompactionReport | None = None
    rebuilt: tuple[RebuildOutcome, ...] = ()


class _Sort(NamedTuple):
    stream: str
    reason: str
    group: str


@dataclass(slots=True)
class Findings:
    """Anomalies as they are found: counted, and the first of them kept; and how many entries were examined for it."""

    limit: int | None
    examined: int = 0
    kept: list[StreamAnomaly] = field(default_factory=list)
    counted: Counter[_Sort] = field(default_factory=Counter)

    def add(self, anomalies: Iterable[StreamAnomaly]) -> None:
        """Take some in."""
        for each in anomalies:
            self.counted[_Sort(each.path, each.reason, each.group)] += 1
            if self.limit is None or len(self.kept) < self.limit:
                self.kept.append(each)

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counted.total()

    def counts(self) -> tuple[AnomalyCount, ...]:
        """Return how many there are of each sort."""
        return tuple(
            AnomalyCount(stream=sort.stream, reason=sort.reason, group=sort.group, count=count)
            for sort, count in sorted(self.counted.items())
        )


def bad_entry(stream: str, bad: Unreadable) -> StreamAnomaly:
    """Report a bad entry in Papyra's terms."""
    return StreamAnomaly(
        type=PersistenceAnomalyType.CORRUPTED_LINE,
        path=stream,
        detail=f"entry {bad.id}: {bad.reason}",
        entry_id=str(bad.id),
        reason=bad.reason,
    )


def dangling_reference(stream: str, group: str, entry_id: str) -> StreamAnomaly:
    """Report an entry that a group still lists as pending."""
    return StreamAnomaly(
        type=PersistenceAnomalyType.ORPHANED_ROTATED_FILE,
        path=stream,
        detail=f"entry {entry_id}: pending for the group {group!r}, but no longer in the stream",
        entry_id=entry_id,
        reason=DANGLING,
        group=group,
    )


def not_scanned(namespace: str, error: Exception) -> StreamsScanReport:
    """Report that nothing is known, as Papyra's startup modes take it: some go on, some do not."""
    reason = f"the scan could not be made: {error}"
    anomaly = StreamAnomaly(
        type=PersistenceAnomalyType.UNEXPECTED_FILE, path=f"{namespace}:*", detail=reason, reason=reason
    )
    count = AnomalyCount(stream=anomaly.path, reason=reason, count=1)
    return StreamsScanReport(backend=BACKEND, anomalies=(anomaly,), counts=(count,))
