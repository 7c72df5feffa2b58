"""How long the newest events take to read, from a stream of a million entries and from a small one."""

import gc
import statistics
import time
from contextlib import AsyncExitStack, aclosing
from typing import cast

from papyra.persistence.backends.redis import RedisStreamsPersistence as PapyrasOwn

from benchmarks import bars, contenders
from benchmarks.rounds import Found, Quantities, turned
from benchmarks.servers import RunningServer
from papyra_streams import RedisStreamsPersistence

from .backends import connected
from .shelf import SMALL, EntriesWrong

LIMIT = 100
CALLS = 300
CALLS_OF_PAPYRA = 5
_IN_A_TURN = 10


async def of_ours(server: RunningServer, driver: str) -> Found:
    """Read from both streams with one driver, by turns.

    ``p50`` -- seconds that a call takes; ``rate`` -- so many of these go into a second
    """
    async with AsyncExitStack() as stack:
        many = await stack.enter_async_context(connected(server, driver))
        few = await stack.enter_async_context(connected(server, driver, prefix=SMALL))
        times: dict[str, list[float]] = {driver: [], bars.few(driver): []}
        backends = [(driver, many), (bars.few(driver), few)]
        for number in range(CALLS // _IN_A_TURN):
            for name, backend in turned(backends, number):
                times[name] += await _timed(backend, _IN_A_TURN)
    return {name: _summary(found) for name, found in times.items()}


async def of_papyra(server: RunningServer) -> Found:
    """Read from the large stream with Papyra's own backend; otherwise like `of_ours`."""
    async with aclosing(cast("PapyrasOwn", contenders.papyra(server.url))) as backend:
        await _timed(backend, 1)
        gc.collect()
        return {bars.PAPYRA: _summary(await _timed(backend, CALLS_OF_PAPYRA))}


async def _timed(backend: RedisStreamsPersistence | PapyrasOwn, count: int) -> list[float]:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        events = await backend.list_events(limit=LIMIT)
        times.append(time.perf_counter() - begun)
        if len(events) != LIMIT:
            raise EntriesWrong(f"{len(events)} events were read, not {LIMIT}.")
    return times


def _summary(times: list[float]) -> Quantities:
    median = statistics.median(times)
    return {"p50": median, "rate": 1 / median}
