"""How long a killed worker's entries wait for another one."""

import time
from collections.abc import Sequence

from papyra.persistence.models import PersistedEvent

from benchmarks import bars
from benchmarks.rounds import Found
from benchmarks.servers import RunningServer

from .shelf import fill, group_of_its_own
from .workers import working

HELD = 500
CLAIM_IDLE = 2.0
_BAR_SECONDS = 1.0


async def measure(server: RunningServer, drivers: Sequence[str], events: Sequence[PersistedEvent]) -> Found:
    """Kill a worker of each driver that has just been given entries, with another one there.

    ``seconds`` -- from the signal until all of them are handled
    """
    found: Found = {bars.CLAIMED: {"seconds": CLAIM_IDLE + _BAR_SECONDS}}
    for driver in drivers:
        found[driver] = {"seconds": await _of_one(server, driver, events)}
    return found


async def _of_one(server: RunningServer, driver: str, events: Sequence[PersistedEvent]) -> float:
    # The other one shows by the last of them that it is at work.
    await fill(server, events, HELD + 1)
    how = {"batch_size": 1, "concurrency": HELD, "claim_idle": CLAIM_IDLE}
    async with (
        group_of_its_own(server) as group,
        working(server, driver, {"group": group, **how}, hangs=True) as first,
    ):
        await first.reaches(HELD)
        async with working(server, driver, {"group": group, **how}) as other:
            await other.reaches(1)
            begun = time.perf_counter()
            first.kill()
            await other.reaches(HELD + 1)
            return time.perf_counter() - begun
