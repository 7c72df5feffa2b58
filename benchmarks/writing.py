"""The measures of the write path, each with a backend that has been warmed up on an empty server."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from itertools import cycle, islice
from typing import cast

import anyio
from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import PersistedEvent

from papyra_streams import RedisStreamsPersistence

from .contenders import STREAM, Open
from .rounds import Quantities
from .servers import RunningServer

_WARM_UP = 300

Work = Callable[[PersistenceBackend], Awaitable[Quantities]]
"""Writes by a backend, and says how fast."""


class RecordsMissing(Exception):
    """The server does not have what was recorded, so that there is nothing to compare."""


async def warm_up(backend: PersistenceBackend, events: list[PersistedEvent]) -> None:
    """Let a backend connect, and the interpreter learn what it does."""
    for event in events[:_WARM_UP]:
        await backend.record_event(event)


def check_stored(server: RunningServer, before: int, count: int) -> None:
    """Check that the stream has so many entries more than before.

    :raises RecordsMissing: if it has not
    """
    if (found := server.length(STREAM) - before) != count:
        raise RecordsMissing(f"{count} records were written, and {server.name} has {found} of them.")


async def measure(server: RunningServer, build: Open, work: Work, events: list[PersistedEvent]) -> Quantities:
    """Warm a backend up, let it work, and close it."""
    server.empty()
    backend = build(server.url)
    try:
        await warm_up(backend, events)
        gc.collect()
        return await work(backend)
    finally:
        await backend.aclose()


def stored(server: RunningServer, count: int, work: Work) -> Work:
    """Return the same work, with a look afterwards whether the server has what was recorded.

    :raises RecordsMissing: from the work, if it has not
    """

    async def checked(backend: PersistenceBackend) -> Quantities:
        before = server.length(STREAM)
        quantities = await work(backend)
        check_stored(server, before, count)
        return quantities

    return checked


def tasks_of_anyio(events: list[PersistedEvent]) -> Work:
    """Return the work of one anyio task for each event, which is how an actor system records them."""

    async def work(backend: PersistenceBackend) -> Quantities:
        begun = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for event in events:
                tasks.start_soon(backend.record_event, event)
        return {"rate": len(events) / (time.perf_counter() - begun)}

    return work


def tasks_of_asyncio(events: list[PersistedEvent]) -> Work:
    """Return the work of one asyncio task for each event."""

    async def work(backend: PersistenceBackend) -> Quantities:
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for event in events:
                tasks.create_task(backend.record_event(event))
        return {"rate": len(events) / (time.perf_counter() - begun)}

    return work


def in_bulk(events: list[PersistedEvent], count: int) -> Work:
    """Return the work of one `record_many` over so many records, the events again and again."""

    async def work(backend: PersistenceBackend) -> Quantities:
        # Papyra's own backend has no such method, and does not take part.
        record_many = cast("RedisStreamsPersistence", backend).record_many
        begun = time.perf_counter()
        await record_many(islice(cycle(events), count))
        return {"rate": count / (time.perf_counter() - begun)}

    return work
