"""One call after another, by every backend in turn: what disturbs such short times is to disturb all alike."""

import gc
import time
from contextlib import AsyncExitStack, aclosing

from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import PersistedEvent

from .contenders import STREAM, Open
from .rounds import Found, Quantities, turned
from .servers import RunningServer
from .writing import check_stored, warm_up

_IN_A_TURN = 100


async def measure(server: RunningServer, builds: dict[str, Open], events: list[PersistedEvent]) -> Found:
    """Let each backend record every event.

    ``rate`` -- calls a second; ``p50``, ``p99`` -- seconds that a call takes
    """
    server.empty()
    async with AsyncExitStack() as stack:
        backends = [
            (name, await stack.enter_async_context(aclosing(build(server.url)))) for name, build in builds.items()
        ]
        for _, backend in backends:
            await warm_up(backend, events)
        gc.collect()
        times: dict[str, list[float]] = {name: [] for name in builds}
        before = server.length(STREAM)
        for number, start in enumerate(range(0, len(events), _IN_A_TURN)):
            for name, backend in turned(backends, number):
                times[name] += await _timed(backend, events[start : start + _IN_A_TURN])
        check_stored(server, before, sum(map(len, times.values())))
    return {name: _summary(sorted(found)) for name, found in times.items()}


async def _timed(backend: PersistenceBackend, events: list[PersistedEvent]) -> list[float]:
    times = []
    for event in events:
        begun = time.perf_counter()
        await backend.record_event(event)
        times.append(time.perf_counter() - begun)
    return times


def _summary(times: list[float]) -> Quantities:
    return {"rate": len(times) / sum(times), "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}
