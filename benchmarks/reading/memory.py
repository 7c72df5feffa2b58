"""Whether a worker's memory grows with what it has handled."""

from collections.abc import Sequence

from papyra.persistence.models import PersistedEvent

from benchmarks import bars
from benchmarks.rounds import Found
from benchmarks.servers import RunningServer

from .loops import BATCH
from .shelf import fill, group_of_its_own
from .workers import working

FEW = 100_000
MANY = 1_000_000


async def measure(server: RunningServer, drivers: Sequence[str], events: Sequence[PersistedEvent]) -> Found:
    """Let a worker of each driver handle a stream of `MANY` entries; nothing is found where the system does not tell.

    ``bytes`` -- its resident memory after `MANY` entries; of ``bars.early(driver)``, after `FEW`
    """
    await fill(server, events, MANY)
    found: Found = {}
    for driver in drivers:
        found |= await _of_one(server, driver)
    return found


async def _of_one(server: RunningServer, driver: str) -> Found:
    async with (
        group_of_its_own(server) as group,
        working(server, driver, {"group": group, "batch_size": BATCH}) as worker,
    ):
        await worker.reaches(FEW)
        early = worker.resident_bytes()
        await worker.reaches(MANY)
        late = worker.resident_bytes()
    return {} if early is None or late is None else {driver: {"bytes": late}, bars.early(driver): {"bytes": early}}
