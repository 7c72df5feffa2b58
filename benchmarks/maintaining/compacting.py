"""How long compaction takes, beside the server's own command for it, and how long others wait meanwhile."""

import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

import anyio

from benchmarks import bars
from benchmarks.rounds import Found, Quantities, turned
from benchmarks.servers import RunningServer
from papyra_streams import RedisStreamsPersistence
from papyra_streams_contract.wire import Wire

from .backends import connected
from .pings import pinging
from .shelf import COPIED, COPY, KEPT, check_length, copy, first_kept

ALLOWED_SECONDS = 0.010
# So much of the second before the first entry that is kept is kept as well: time goes on before the cut is made.
_AHEAD = 0.9
_LATE = 5
# A node of a stream, as servers make them by default, which an approximate trim leaves whole.
_NODE = 100
_AT_REST_SECONDS = 0.2
# One of them is over so soon that a single disturbance would show, and before there are PINGs enough.
TIMES = 5


async def measure(server: RunningServer, drivers: Sequence[str]) -> Found:
    """Cut copies of the stream to their last `KEPT` entries, each contender by turns, `TIMES` times.

    ``seconds`` -- how long that takes, the median
    """
    contenders: list[tuple[str, Callable[[], Awaitable[float]]]] = [(bars.XTRIM, partial(_xtrim, server))]
    for driver in drivers:
        contenders.append((driver, partial(_ours, server, driver, approx_trim=True)))
        contenders.append((bars.exact(driver), partial(_ours, server, driver, approx_trim=False)))
    times: dict[str, list[float]] = {name: [] for name, _ in contenders}
    for number in range(TIMES):
        for name, cut in turned(contenders, number):
            times[name].append(await cut())
    return {name: {"seconds": statistics.median(found)} for name, found in times.items()}


async def _ours(server: RunningServer, driver: str, *, approx_trim: bool) -> float:
    async with _compactable(server, driver, approx_trim=approx_trim) as backend:
        begun = time.perf_counter()
        await backend.compact()
        return time.perf_counter() - begun


async def _xtrim(server: RunningServer) -> float:
    await copy(server)
    first = await first_kept(server)
    async with aclosing(Wire(server.endpoint)) as wire:
        await wire("PING")
        gc.collect()
        begun = time.perf_counter()
        await wire("XTRIM", COPY, "MINID", "=", first * 1000)
        taken = time.perf_counter() - begun
    check_length(server, COPY, KEPT, KEPT)
    return taken


async def pings(server: RunningServer, drivers: Sequence[str]) -> Found:
    """Let another process send PINGs while each driver compacts, `TIMES` times.

    ``p99``, ``longest`` -- seconds until the reply is there; ``at_rest`` -- the p99 before the compaction
    """
    found: Found = {bars.ALLOWED_WAIT: {"p99": ALLOWED_SECONDS}}
    for driver in drivers:
        found[driver] = await _pings(server, driver)
    return found


async def _pings(server: RunningServer, driver: str) -> Quantities:
    rest: list[float] = []
    found: list[float] = []
    for _ in range(TIMES):
        async with _compactable(server, driver) as backend, pinging(server) as pings:
            await anyio.sleep(_AT_REST_SECONDS)
            begun = time.monotonic()
            await backend.compact()
            ended = time.monotonic()
        rest += pings.between(0.0, begun)
        found += pings.between(begun, ended)
    return {"p99": _p99(found), "longest": max(found), "at_rest": _p99(rest)}


def _p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


@asynccontextmanager
async def _compactable(
    server: RunningServer, driver: str, *, approx_trim: bool = True
) -> AsyncIterator[RedisStreamsPersistence]:
    await copy(server)
    max_age = time.time() - await first_kept(server) + _AHEAD
    async with connected(server, driver, prefix=COPIED, max_age=max_age, approx_trim=approx_trim) as backend:
        yield backend
    check_length(server, COPY, KEPT - _LATE, KEPT + (_NODE if approx_trim else 0))
