"""Papyra's reports, with what a stream can say beyond a file."""

from dataclasses import dataclass

from papyra.persistence.models import CompactionReport, PersistenceAnomaly, PersistenceAnomalyType

from .records import Unreadable

BACKEND = "papyra-streams"


@dataclass(frozen=True)
class StreamAnomaly(PersistenceAnomaly):
    """A bad entry: ``path`` is its stream's key, ``detail`` its id and the reason in one line."""

    entry_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """A group that kept compaction from removing more; ``needs`` is the oldest entry it has yet to acknowledge."""

    stream: str
    group: str
    needs: str


@dataclass(frozen=True)
class StreamsCompactionReport(CompactionReport):
    """Records and bytes before and after, over all streams, and the groups that held compaction back."""

    held_back: tuple[HeldBack, ...] = ()


def anomaly(stream: str, bad: Unreadable) -> StreamAnomaly:
    """Report a bad entry in Papyra's terms."""
    return StreamAnomaly(
        type=PersistenceAnomalyType.CORRUPTED_LINE,
        path=stream,
        detail=f"entry {bad.id}: {bad.reason}",
        entry_id=str(bad.id),
        reason=bad.reason,
    )
