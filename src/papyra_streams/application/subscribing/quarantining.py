"""What a group gives up goes to the quarantine, with the reason."""

import logging
from collections.abc import Sequence

from papyra_streams.application.clock import Clock
from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.domain.records import Unreadable
from papyra_streams.ports import BadEntry, DeadEntry, Settled, StreamStore

from .source import Source

logger = logging.getLogger("papyra_streams")


class Quarantining:
    """Puts entries in quarantine, counts and logs them."""

    def __init__(self, store: StreamStore, metrics: StreamsMetrics, clock: Clock) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock

    async def bury(self, source: Source, dead: Sequence[DeadEntry]) -> Settled:
        """Put entries there that this worker holds, and acknowledge them; it may be asked for again."""
        return await self._store.bury(source.member, dead, quarantine=source.quarantine, moment=self._clock())

    def note(self, source: Source, dead: Sequence[DeadEntry]) -> None:
        """Count and log entries that are there now."""
        self._metrics.entries_quarantined += len(dead)
        for entry in dead:
            logger.error(
                "Entry %s of %s is in quarantine after %d deliveries to group %r: %s",
                *(entry.id, source.stream, entry.attempts, source.member.group, _why(entry)),
            )

    async def retire(self, source: Source, bad: Sequence[Unreadable]) -> None:
        """Move entries there that nobody can read, out of every group's way."""
        entries = [BadEntry(entry.id, entry.reason) for entry in bad]
        retired = await self._store.retire(source.stream, entries, quarantine=source.quarantine, moment=self._clock())
        self._metrics.unreadable_entries += len(retired)
        for entry in bad:
            logger.error(
                "Entry %s of %s cannot be read (%s); it is in quarantine.", entry.id, source.stream, entry.reason
            )


def _why(entry: DeadEntry) -> str:
    return f"{entry.reason}; {entry.error}" if entry.error else entry.reason
