"""How much memory a client has at most that goes through a million entries."""

import json
import sys
import time
from collections.abc import Sequence

import anyio
from papyra.persistence.models import PersistedEvent

from benchmarks import bars
from benchmarks.events import SYSTEM
from benchmarks.rounds import Found, Quantities
from benchmarks.servers import RunningServer

from .shelf import COPIED, COPY, ENTRIES, KEPT, check_length, copy, fill, first_kept

ALLOWED_BYTES = 64 * 1024 * 1024
ONE_BAD_OF = 1000
BAD = ENTRIES // ONE_BAD_OF
_PROGRAM = "benchmarks.maintaining.client"
_QUARANTINE = f"{COPIED}:{SYSTEM}:quarantine:{{{COPY}}}"


async def measure(server: RunningServer, drivers: Sequence[str], events: Sequence[PersistedEvent]) -> Found:
    """Let a client of each driver go through the stream, some of whose entries are bad.

    Nothing is found where the system does not tell.

    ``bytes`` -- the most that was resident in the end; also under the name of each step, by the end of that
    """
    if sys.platform != "linux":
        return {}
    await fill(server, events, one_bad_of=ONE_BAD_OF)
    found: Found = {bars.ALLOWED_MEMORY: {"bytes": ALLOWED_BYTES}}
    for driver in drivers:
        found[driver] = await _of_one(server, driver)
    return found


async def _of_one(server: RunningServer, driver: str) -> Quantities:
    await copy(server)
    config = {"url": server.url, "prefix": COPIED, "system_id": SYSTEM, "driver": driver}
    job = {"config": config, "max_age": time.time() - await first_kept(server)}
    finished = await anyio.run_process([sys.executable, "-m", _PROGRAM, json.dumps(job)], stderr=None)
    check_length(server, _QUARANTINE, BAD, BAD)
    # Time goes on while it works, and bad ones are gone.
    check_length(server, COPY, KEPT * 9 // 10, KEPT)
    steps: dict[str, int] = json.loads(finished.stdout)
    return {**steps, "bytes": max(steps.values())}
