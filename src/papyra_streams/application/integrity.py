"""Finding entries that no read can return, and taking them out of the way."""

from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import (
    BACKEND,
    Findings,
    OnProgress,
    RebuildOutcome,
    ScanWarning,
    StreamsRecoveryReport,
    StreamsScanReport,
)

from .compaction import Compaction
from .concerns import Concerns
from .inspection import Bounds
from .rebuilding import Rebuilding
from .sweeping import Sweeping, Task, tell_nobody

# How many anomalies are named one by one, unless another number is asked for.
NAMED = 10_000


class Integrity:
    """Scans the streams, and recovers what a scan would find."""

    def __init__(
        self,
        keys: Keyspace,
        sweeping: Sweeping,
        compaction: Compaction,
        rebuilding: Rebuilding,
        concerns: Concerns,
        *,
        sample_size: int,
    ) -> None:
        self._keys = keys
        self._sweeping = sweeping
        self._compaction = compaction
        self._rebuilding = rebuilding
        self._concerns = concerns
        self._sample_size = sample_size

    async def scan(
        self, *, full: bool = False, limit: int | None = NAMED, report: OnProgress = tell_nobody
    ) -> StreamsScanReport:
        """Report what is wrong among the newest entries of each stream, or among all; write nothing."""
        bounds = Bounds() if full else Bounds(entries=self._sample_size)
        swept = await self._sweeping.run(Task(bounds=bounds, report=report), limit=limit)
        return _scan_report(swept.found, warnings=await self._concerns.look())

    async def recover(
        self, config: PersistenceRecoveryConfig, *, full: bool = False, report: OnProgress = tell_nobody
    ) -> StreamsRecoveryReport:
        """Remove what is bad, or move it to the quarantine, then compact; with IGNORE only scan.

        Afterwards a scan finds nothing, so it goes back until it has passed as many good entries as a scan reads.
        REBUILD goes through everything, and then writes each stream anew.
        """
        if config.mode is PersistenceRecoveryMode.IGNORE:
            scan = await self.scan(full=full, limit=NAMED, report=report)
            return StreamsRecoveryReport(backend=BACKEND, scan=scan)
        quarantining = config.mode is PersistenceRecoveryMode.QUARANTINE
        rebuilding = config.mode is PersistenceRecoveryMode.REBUILD
        bounds = Bounds() if full or rebuilding else Bounds(good=self._sample_size)
        task = Task(bounds=bounds, mending="quarantining" if quarantining else "deleting", report=report)
        swept = await self._sweeping.run(task, limit=NAMED)
        compaction = await self._compaction.run()
        rebuilt = await self._rebuild(report) if rebuilding else ()
        repaired = {each.stream for each in swept.mended.counts()} | {
            each.stream for each in rebuilt if not each.obstacle
        }
        quarantined = {each.stream for each in swept.mended.counts() if quarantining and not each.group}
        return StreamsRecoveryReport(
            backend=BACKEND,
            scan=_scan_report(swept.found),
            repaired_files=tuple(map(self._keys.stream, self._partitions(repaired))),
            quarantined_files=tuple(map(self._keys.quarantine, self._partitions(quarantined))),
            recovered=swept.mended.counts(),
            compaction=compaction,
            rebuilt=rebuilt,
        )

    def _partitions(self, streams: set[str]) -> list[Partition]:
        return [partition for partition in self._keys.all_partitions if self._keys.stream(partition) in streams]

    async def _rebuild(self, report: OnProgress) -> tuple[RebuildOutcome, ...]:
        outcomes = [await self._rebuilding.run(partition, report) for partition in self._keys.all_partitions]
        return tuple(outcome for outcome in outcomes if outcome is not None)


def _scan_report(found: Findings, *, warnings: tuple[ScanWarning, ...] = ()) -> StreamsScanReport:
    return StreamsScanReport(
        backend=BACKEND,
        anomalies=tuple(found.kept),
        counts=found.counts(),
        warnings=warnings,
        examined=found.examined,
    )
