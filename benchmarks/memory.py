"""What a record costs that waits in memory for a server that does not answer."""

import gc
import tracemalloc
from dataclasses import dataclass

import anyio
from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import PersistedEvent

from papyra_streams import WritePolicy

from .contenders import Gate, ours
from .servers import RunningServer


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRecord:
    """Bytes of Python's memory for each record that waits, without the record itself, which the caller brings.

    ``task`` -- the task that waits, as the actor system starts it; ``queue`` -- what the backend adds
    """

    task: int
    queue: int


def measure(server: RunningServer, driver: str, events: list[PersistedEvent]) -> QueuedRecord:
    """Record events while the server is stopped, and look at the memory."""
    task = anyio.run(_of_task, events)
    policy = WritePolicy(queue_records=10 * len(events), queue_seconds=600.0)
    whole = anyio.run(_of_queue, server, driver, policy, events)
    return QueuedRecord(task=task, queue=whole - task)


async def _of_task(events: list[PersistedEvent]) -> int:
    gate = Gate()
    async with anyio.create_task_group() as tasks:
        held = await _held(tasks, gate, events)
        gate.open()
    return held


async def _of_queue(server: RunningServer, driver: str, policy: WritePolicy, events: list[PersistedEvent]) -> int:
    server.empty()
    backend = ours(driver, policy)(server.url)
    await backend.record_event(events[0])
    async with anyio.create_task_group() as tasks:
        server.pause()
        try:
            held = await _held(tasks, backend, events)
        finally:
            server.resume()
    await backend.aclose()
    return held


async def _held(tasks: anyio.abc.TaskGroup, backend: PersistenceBackend, events: list[PersistedEvent]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        for event in events:
            tasks.start_soon(backend.record_event, event)
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] // len(events)
    finally:
        tracemalloc.stop()
