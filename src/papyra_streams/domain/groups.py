"""What a consumer is handed, and what an operator is told about a group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RedisStreamEntry:
    """One entry given to a consumer: its id (``"1700000000000-0"``) and its record's fields, ``kind`` among them."""

    id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSummary:
    """What a group was given and has not acknowledged: how many, the oldest and the newest id, and per consumer.

    Subscribed with ``"raw"`` it answers as Papyra's own backend does, in the form of redis-py's XPENDING.
    """

    count: int
    min_id: str | None
    max_id: str | None
    consumers: Mapping[str, int]

    def __getitem__(self, key: str) -> dict[str, Any]:
        if key != "raw":
            raise KeyError(key)
        return {
            "pending": self.count,
            "min": self.min_id,
            "max": self.max_id,
            "consumers": [{"name": name, "pending": pending} for name, pending in self.consumers.items()],
        }


NOTHING_PENDING = PendingSummary(count=0, min_id=None, max_id=None, consumers={})
