"""What the tests of partitions share: a backend that has several, and facts of many actors."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from papyra.persistence.models import PersistedEvent

from papyra_streams import (
    RedisConsumerGroupConfig,
    RedisStreamsPersistence,
)
from papyra_streams.domain.kinds import EVENTS

from .backends import WORKERS, OpenBackend, add_raw
from .wire import Wire

PARTITIONS = 4
ACTORS = 40
GROUP = "workers"


@pytest.fixture
def divided(open_backend: OpenBackend) -> RedisStreamsPersistence:
    """Return a backend with partitions."""
    return open_backend(partitions=PARTITIONS)


@pytest.fixture
def streams(divided: RedisStreamsPersistence) -> list[str]:
    """Return the streams of its events."""
    keys = divided.config.keyspace()
    return [keys.stream(partition) for partition in keys.partitions_of(EVENTS)]


def fact(number: int, actors: int = ACTORS) -> PersistedEvent:
    """Make an event of one of the actors, by turns."""
    return PersistedEvent("orders", f"orders/{number % actors}", "Ticked", {"number": number}, 1_750_000_000.0)


def row(number: int, **fields: Any) -> dict[str, Any]:
    """Return the same as it is stored."""
    event = fact(number)
    stored_as = {"actor_address": event.actor_address, "event_type": event.event_type, "payload": event.payload}
    return {"kind": "event", "system_id": "orders", "timestamp": event.timestamp, **stored_as, **fields}


async def record(backend: RedisStreamsPersistence, count: int, *, first: int = 0) -> None:
    """Record events, numbered."""
    assert await backend.record_many(map(fact, range(first, first + count))) == count


async def listed(backend: RedisStreamsPersistence, **asked: Any) -> list[int]:
    """Read events, and return their numbers."""
    return [event.payload["number"] for event in await backend.list_events(**asked)]


def assert_actors_in_order(events: Sequence[PersistedEvent], count: int) -> None:
    """Check that there are so many, and each actor's stand in the order in which it recorded them."""
    by_actor: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        by_actor[str(event.actor_address)].append(event.payload["number"])
    assert sum(map(len, by_actor.values())) == count
    assert all(numbers == sorted(set(numbers)) for numbers in by_actor.values())


async def same_ids(wire: Wire, streams: Sequence[str], count: int = 3) -> None:
    """Put entries with the ids 1-0, 2-0 and so on into each stream; their numbers tell the streams apart."""
    for number, stream in enumerate(streams):
        for position in range(1, count + 1):
            await add_raw(wire, stream, row(100 * number + position), f"{position}-0")


async def consume_all(backend: RedisStreamsPersistence, cfg: RedisConsumerGroupConfig = WORKERS) -> list[Any]:
    """Consume until there is nothing."""
    found: list[Any] = []
    while items := await backend.consume(kind="events", cfg=cfg):
        assert len(items) <= cfg.count
        found += items
    return found
