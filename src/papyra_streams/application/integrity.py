"""Finding entries that no read can return, and taking them out of the way."""

from collections.abc import AsyncIterable

from papyra.persistence.models import (
    PersistenceAnomaly,
    PersistenceRecoveryConfig,
    PersistenceRecoveryMode,
    PersistenceRecoveryReport,
    PersistenceScanReport,
)

from papyra_streams.domain.entries import Entry
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.records import Record, Unreadable, read
from papyra_streams.domain.reports import BACKEND, anomaly
from papyra_streams.ports import BadEntry, StreamStore

from .clock import Clock
from .compaction import Compaction
from .history import newest_first

# One step of a recovery; bounded, so that neither the server nor a script's argument list is strained.
_PAGE = 500


class Integrity:
    """Scans the newest entries of each stream, and recovers what a scan would find."""

    def __init__(
        self, store: StreamStore, keys: Keyspace, compaction: Compaction, clock: Clock, *, sample_size: int
    ) -> None:
        self._store = store
        self._keys = keys
        self._compaction = compaction
        self._clock = clock
        self._sample_size = sample_size

    async def scan(self) -> PersistenceScanReport:
        """Report each bad entry among the newest of each stream; write nothing."""
        found: list[PersistenceAnomaly] = []
        for kind in KINDS:
            stream = self._keys.stream(kind)
            async with newest_first(self._store, stream, at_most=self._sample_size) as entries:
                results = (read(kind, entry) async for entry in entries)
                found += [anomaly(stream, result) async for result in results if isinstance(result, Unreadable)]
        return PersistenceScanReport(backend=BACKEND, anomalies=tuple(found))

    async def recover(self, config: PersistenceRecoveryConfig) -> PersistenceRecoveryReport:
        """Remove bad entries, or move them to the quarantine, then compact; with IGNORE only scan.

        Afterwards a scan finds nothing, so it goes back until it has passed as many good entries as a scan reads.
        REBUILD does here what REPAIR does.
        """
        scan = await self.scan()
        if config.mode is PersistenceRecoveryMode.IGNORE:
            return PersistenceRecoveryReport(backend=BACKEND, scan=scan)
        quarantining = config.mode is PersistenceRecoveryMode.QUARANTINE
        repaired = [kind for kind in KINDS if await self._recover(kind, quarantining=quarantining)]
        await self._compaction.run()
        return PersistenceRecoveryReport(
            backend=BACKEND,
            scan=scan,
            repaired_files=tuple(self._keys.stream(kind) for kind in repaired),
            quarantined_files=tuple(self._keys.quarantine(kind) for kind in repaired if quarantining),
        )

    async def _recover(self, kind: Kind, *, quarantining: bool) -> int:
        async with newest_first(self._store, self._keys.stream(kind), at_most=None) as entries:
            return await self._retire_bad(kind, entries, quarantining=quarantining)

    async def _retire_bad(self, kind: Kind, entries: AsyncIterable[Entry], *, quarantining: bool) -> int:
        removed, good = 0, 0
        bad: list[BadEntry] = []
        async for entry in entries:
            result = read(kind, entry)
            if isinstance(result, Record):
                good += 1
            else:
                bad.append(BadEntry(result.id, result.reason))
            if len(bad) == _PAGE:
                removed += await self._retire(kind, bad, quarantining=quarantining)
                bad = []
            if good == self._sample_size:
                break
        return removed + await self._retire(kind, bad, quarantining=quarantining)

    async def _retire(self, kind: Kind, bad: list[BadEntry], *, quarantining: bool) -> int:
        if not bad:
            return 0
        quarantine = self._keys.quarantine(kind) if quarantining else None
        return await self._store.retire(self._keys.stream(kind), bad, quarantine=quarantine, moment=self._clock())
