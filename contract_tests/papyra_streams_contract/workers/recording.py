"""What the workers are given to handle."""

from collections.abc import Iterator
from typing import Any

from papyra.persistence.models import PersistedEvent

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence


async def record_events(url: str, driver_name: str, count: int, *, actors: int = 100, **settings: Any) -> None:
    """Record so many events, which the actors have in turn.

    :param settings: of the backend
    """
    backend = RedisStreamsPersistence(RedisStreamsConfig(url=url, driver=driver_name, **settings))
    try:
        await backend.record_many(_events(count, actors))
    finally:
        await backend.aclose()


def _events(count: int, actors: int) -> Iterator[PersistedEvent]:
    for number in range(count):
        yield PersistedEvent("local", f"local:{number % actors}", "ActorStarted", {"number": number}, 1_750_000_000.0)
