"""What the tests of subscriptions share."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import orjson
import pytest

from papyra_streams import Delivery, StreamsMetrics, SubscriptionConfig
from papyra_streams.application.subscribing.subscription import Subscription
from papyra_streams.application.subscribing.subscriptions import Subscriptions
from papyra_streams.config import RedisStreamsConfig
from papyra_streams.domain.kinds import EVENTS, Kind

from .fake_groups import FakeGroups

NOW = 1_700_000_000.0
STREAM = "papyra:orders:events"
GROUP = "workers"
SYSTEMS = ("orders", "bills", "parcels")
PLACES = {f"papyra:{system}:events": place for place, system in enumerate(SYSTEMS)}
"""Where the streams of several systems may lie, each by itself."""

QUICK: dict[str, Any] = {"group": GROUP, "consumer": "me", "claim_idle": 1.0, "backoff": 0.01, "grace": 0.2}


class Bench:
    """A store with groups, and subscriptions to it."""

    def __init__(self) -> None:
        self.store = FakeGroups()
        self.metrics = StreamsMetrics()
        self._subscriptions = Subscriptions(
            self.store, RedisStreamsConfig(system_id="orders"), self.metrics, lambda: NOW
        )

    def subscription(self, *kinds: Kind, **settings: Any) -> Subscription:
        """Make a subscription with settings of its own."""
        return self._subscriptions.new(kinds or (EVENTS,), SubscriptionConfig(**(QUICK | settings)))

    async def process(self, handler: Any, *, stop: anyio.Event | None = None, **settings: Any) -> None:
        """Run a worker."""
        with anyio.fail_after(10):
            await self._subscriptions.process((EVENTS,), SubscriptionConfig(**(QUICK | settings)), handler, stop)

    def write(self, numbers: Iterable[int], *, stream: str = STREAM, actor: str | None = None) -> None:
        """Write records with numbers."""
        self.store.write(stream, [_payload(number, actor) for number in numbers])

    @property
    def pending(self) -> list[int]:
        """The numbers of what is pending."""
        entries = {entry.id: entry for entry in self.store.streams[STREAM]}
        return [orjson.loads((entries[one].fields or {})[b"data"])["payload"] for one in self.store.pending_of(STREAM)]


def _payload(number: int, actor: str | None) -> bytes:
    record = {"kind": "event", "event_type": "x", "actor_address": actor, "payload": number, "timestamp": NOW}
    return orjson.dumps(record)


def number_of(delivery: Delivery) -> int:
    """Return the number of the record."""
    number: int = delivery.data["payload"]
    return number


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


async def next_of(subscription: Subscription) -> Delivery:
    """Wait for a delivery."""
    with anyio.fail_after(5):
        return await anext(subscription)


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """Return what was logged."""
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= level]
