"""The whole backend over the driver under test, as an actor system is given it."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest_asyncio
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistedEvent, PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams import RedisConsumerGroupConfig, RedisStreamsConfig, RedisStreamsPersistence

from .wire import Wire

REPAIR, QUARANTINE, REBUILD = (
    PersistenceRecoveryConfig(mode=mode)
    for mode in (
        PersistenceRecoveryMode.REPAIR,
        PersistenceRecoveryMode.QUARANTINE,
        PersistenceRecoveryMode.REBUILD,
    )
)

OpenBackend = Callable[..., RedisStreamsPersistence]
"""Make a backend that is closed at the end of the test; it takes a retention policy, and settings by name."""

WORKERS = RedisConsumerGroupConfig(group="workers", consumer="worker-1", count=100, block_ms=0)


@pytest_asyncio.fixture(loop_scope="function")
async def open_backend(driver_name: str, url: str, namespace: str) -> AsyncIterator[OpenBackend]:
    """Return a function that makes backends on the shared server."""
    opened: list[RedisStreamsPersistence] = []

    def make(policy: RetentionPolicy | None = None, **settings: Any) -> RedisStreamsPersistence:
        chosen = {"url": url, "prefix": namespace, "system_id": "orders", "driver": driver_name, **settings}
        opened.append(RedisStreamsPersistence(RedisStreamsConfig(**chosen), retention_policy=policy))
        return opened[-1]

    yield make
    for backend in opened:
        await backend.aclose()


@pytest_asyncio.fixture(loop_scope="function")
async def backend(open_backend: OpenBackend) -> RedisStreamsPersistence:
    """Return a backend with the default settings and no retention."""
    return open_backend()


def event(number: int, *, timestamp: float = 1_750_000_000.0) -> PersistedEvent:
    """Make an event that holds its number."""
    return PersistedEvent("orders", f"orders:{number}", "ActorStarted", {"number": number}, timestamp)


async def record_events(backend: RedisStreamsPersistence, count: int) -> None:
    """Record events numbered from 0."""
    for number in range(count):
        await backend.record_event(event(number))


async def numbers(backend: RedisStreamsPersistence, **asked: Any) -> list[int]:
    """Read events, and return their numbers."""
    return [found.payload["number"] for found in await backend.list_events(**asked)]


async def add_raw(wire: Wire, stream: str, data: object, entry_id: str = "*") -> str:
    """Add an entry without the backend: bytes as they are, anything else as JSON."""
    payload = data if isinstance(data, bytes) else json.dumps(data).encode()
    reply = await wire("XADD", stream, entry_id, "data", payload)
    assert isinstance(reply, bytes)
    return reply.decode()


async def damage(wire: Wire, stream: str, data: Iterable[bytes]) -> list[str]:
    """Add entries that no read can return, and return their ids."""
    return [await add_raw(wire, stream, each) for each in data]
