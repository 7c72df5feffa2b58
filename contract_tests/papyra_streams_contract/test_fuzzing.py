"""A hundred thousand odd entries: all that reads skip is found, nothing else is, and all of it is kept whole."""

import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams import Progress, RedisStreamsPersistence

from . import fuzz
from .arranging import stored
from .backends import OpenBackend
from .wire import Wire

pytestmark = [pytest.mark.asyncio(loop_scope="function"), pytest.mark.timeout(300)]

COUNT, NESTED, LARGE = 100_000, 300, 20
SEED = 20_261_128
_FIRST_MS = 1_750_000_000_000
_MEGABYTE = 1024 * 1024
_STATUS = Path("/proc/self/statm")


class Memory:
    """How much this process takes at most, above what it took at the beginning; where the system does not tell, 0."""

    def __init__(self) -> None:
        gc.collect()
        self._first = self._now()
        self.most = 0

    async def look(self, _: Progress) -> None:
        """Look now."""
        self.most = max(self.most, self._now() - self._first)

    def _now(self) -> int:
        return int(_STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if _STATUS.exists() else 0


async def test_what_reads_skip_is_found_kept_and_nothing_else(
    open_backend: OpenBackend, stream: str, wire: Wire
) -> None:
    chance = Random(SEED)
    odd = fuzz.entries(chance, COUNT, first_ms=_FIRST_MS, large=LARGE)
    odd += fuzz.nested(chance, NESTED, first_ms=_FIRST_MS + COUNT)
    await fuzz.put(wire, stream, odd)
    backend = open_backend(max_read=len(odd))
    bad = {str(entry.id): entry for entry in odd if not entry.is_readable}
    assert len(odd) / 10 < len(bad) < len(odd)

    memory = Memory()
    report = await backend.scan(full=True, limit=None, progress=memory.look)
    assert {getattr(each, "entry_id", None) for each in report.anomalies} == bad.keys()
    assert (report.found, report.examined) == (len(bad), len(odd))
    assert 0 < memory.most < 64 * _MEGABYTE or not _STATUS.exists()
    del report
    assert len(await backend.list_events()) == len(odd) - len(bad)

    quarantine = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.QUARANTINE)
    recovered = await backend.recover(quarantine, full=True)
    assert sum(each.count for each in recovered.recovered) == len(bad)
    assert [str(each) for each in await stored(wire, stream)] == [
        str(entry.id) for entry in odd if str(entry.id) not in bad
    ]
    async for source_id, fields in _kept(backend):
        assert bad.pop(source_id).fields == fields
    assert bad == {}


async def _kept(backend: RedisStreamsPersistence) -> AsyncIterator[tuple[str, fuzz.Fields]]:
    after: str | None = None
    while page := await backend.quarantine_list(kind="events", limit=500, after=after):
        for entry in page:
            yield entry.source_id, entry.fields
        after = page[-1].id
