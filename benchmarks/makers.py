"""The benchmark that a server's makers ship: XADD of an entry of ours, 64 of them to a round trip."""

from contextlib import aclosing
from pathlib import Path

import anyio

from papyra_streams_contract.wire import Wire

from .contenders import STREAM, ours
from .events import persisted
from .rounds import Quantities
from .servers import RunningServer

_TO_A_ROUND_TRIP = 64
_SAMPLE = 100
# The name of the test comes first, as one quoted field that may hold anything.
_FIELDS_AFTER_THE_NAME = 7


async def entry_size(server: RunningServer, driver: str) -> int:
    """Return how many bytes the value of an entry has on average."""
    server.empty()
    backend = ours(driver)(server.url)
    for event in persisted(_SAMPLE):
        await backend.record_event(event)
    await backend.aclose()
    return round(await mean_value(server))


async def mean_value(server: RunningServer) -> float:
    """Return how many bytes the values of the first entries have on average."""
    async with aclosing(Wire(server.endpoint)) as wire:
        rows = await wire.rows("XRANGE", STREAM, "-", "+", "COUNT", _SAMPLE)
    sizes = [len(row[1][1]) for row in rows if isinstance(row, list) and isinstance(row[1], list)]  # type: ignore[arg-type]  # a value is bytes
    return sum(sizes) / len(sizes)


async def pipelined_xadd(server: RunningServer, program: Path, *, count: int, size: int) -> Quantities:
    """Add entries with the same key, field and size as ours."""
    server.empty()
    where = ["-h", server.endpoint.host, "-p", str(server.endpoint.port)]
    how = ["-P", str(_TO_A_ROUND_TRIP), "-c", "1", "-n", str(count), "--csv"]
    xadd = ["XADD", STREAM, "*", "data", "x" * size]
    finished = await anyio.run_process([str(program), *where, *how, *xadd])
    return {"rate": _rate(finished.stdout.decode())}


def _rate(csv: str) -> float:
    (line,) = [line for line in csv.splitlines() if line.startswith('"XADD')]
    return float(line.rsplit(",", _FIELDS_AFTER_THE_NAME)[1].strip('"'))
