"""The bytes of a record."""

from collections.abc import Sequence
from contextlib import aclosing
from itertools import cycle, islice

import anyio
from papyra.persistence.models import PersistedEvent

from benchmarks.contenders import STREAM, ours
from benchmarks.makers import mean_value
from benchmarks.rounds import Quantities
from benchmarks.servers import RunningServer
from benchmarks.writing import check_stored
from papyra_streams_contract.wire import Wire

JSON = "JSON"
GROWTH = "used_memory"
USAGE = "MEMORY USAGE"
APPENDED = "append-only file"
SNAPSHOT = "snapshot"
_GLANCE = 0.05


async def fill(server: RunningServer, driver: str, events: Sequence[PersistedEvent], count: int) -> None:
    """Write so many records, the events again and again, with a backend that is gone afterwards."""
    async with aclosing(ours(driver)(server.url)) as backend:
        await backend.record_many(islice(cycle(events), count))
    check_stored(server, 0, count)


async def measure_records(
    server: RunningServer, driver: str, events: Sequence[PersistedEvent], count: int
) -> Quantities:
    """Fill an empty server, which keeps an append-only file meanwhile, and let it write that anew, as a snapshot."""
    server.empty()
    async with aclosing(Wire(server.endpoint)) as wire:
        memory = await used_memory(server, wire)
        # By itself a server would write the file anew when it has doubled.
        await wire("CONFIG", "SET", "auto-aof-rewrite-percentage", 0)
        await wire("CONFIG", "SET", "appendonly", "yes")
        await _rewritten(server)
        before = server.persistence("aof_current_size")
        await fill(server, driver, events, count)
        appended = server.persistence("aof_current_size") - before
        await wire("BGREWRITEAOF")
        await _rewritten(server)
        snapshot = server.persistence("aof_base_size")
        await wire("CONFIG", "SET", "appendonly", "no")
        return {
            JSON: await mean_value(server),
            GROWTH: (await used_memory(server, wire) - memory) / count,
            USAGE: await usage(wire, STREAM) / count,
            APPENDED: appended / count,
            SNAPSHOT: snapshot / count,
        }


async def used_memory(server: RunningServer, wire: Wire) -> int:
    """Return how many bytes the server has allocated, without what its Lua has not collected yet."""
    await wire("SCRIPT", "FLUSH", "SYNC")
    return server.used_memory


async def usage(wire: Wire, key: str | bytes) -> int:
    """Return what the server says a key takes, of all that it holds."""
    return await wire.number("MEMORY", "USAGE", key, "SAMPLES", 0)


async def _rewritten(server: RunningServer) -> None:
    while server.persistence("aof_rewrite_in_progress") or server.persistence("aof_rewrite_scheduled"):  # noqa: ASYNC110 -- the server tells nobody that it is done
        await anyio.sleep(_GLANCE)
