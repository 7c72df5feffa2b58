"""What a consumer is handed, and what an operator is told about a group."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Holds what a consumer has let go of until another takes it: entries are always some consumer's, before Redis 8.8.
RELEASED = "papyra-streams:released"


@dataclass(frozen=True, slots=True)
class RedisStreamEntry:
    """One entry given to a consumer: its id and its record's fields, ``kind`` among them.

    The id of an entry of the first partition is ``"1700000000000-0"``, of another one ``"1700000000000-0@3"``.
    """

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStatus:
    """One consumer of a group: how many entries it holds, and when it was last heard of, in milliseconds.

    ``idle_ms`` -- since it last asked for entries
    ``inactive_ms`` -- since it was last given one; None where the server does not tell (before Redis 7.2)
    ``highest_attempt`` -- how often the entry was delivered that was delivered most of those it holds; 0 without any
    """

    name: str
    pending: int
    idle_ms: int
    inactive_ms: int | None
    highest_attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatus:
    """How a group stands on the streams of one kind.

    ``stream`` -- the key of the first, or only, partition
    ``length`` -- entries in all of them
    ``lag`` -- entries it was not given yet; None while that is not known, never a guess
    ``pending`` -- entries it was given and has not acknowledged
    ``oldest_pending_age`` -- seconds since the oldest of them was recorded, by the server's clock; None without any
    ``highest_attempt`` -- how often one of them was delivered at most; 0 without any
    """

    stream: str
    group: str
    length: int
    lag: int | None
    pending: int
    oldest_pending_age: float | None
    highest_attempt: int
    consumers: tuple[ConsumerStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedEntry:
    """An entry that was given up, as it stands in the quarantine.

    ``id`` -- its id there, by which it is replayed or dropped
    ``stream``, ``source_id`` -- the stream it comes from, and its id there
    ``reason`` -- why: what a handler said to `Delivery.reject`, or what was wrong with it
    ``quarantined_at`` -- when, in seconds since the epoch
    ``group``, ``attempts``, ``error`` -- who gave it up, after how many deliveries, and the last exception; of one that
        no read could return, the group that was given it most often, if it was pending, and no error
    ``fields`` -- its fields, names and values, in their order and byte for byte
    """

    id: str
    stream: str
    source_id: str
    reason: str
    quarantined_at: float
    group: str
    attempts: int
    error: str
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def data(self) -> bytes | None:
        """What its field ``data`` holds, which is the record; None if it has none."""
        # As a read takes it: the last one of that name.
        return dict(self.fields).get(b"data")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What became of the entries that were to be replayed, each by its id in the quarantine.

    ``pending`` -- those that their group gets again under their old id, and nobody else does
    ``appended`` -- those that the stream no longer had, and the id under which each came back
    ``missing`` -- those that were not in the quarantine, or no longer
    """

    pending: tuple[str, ...] = ()
    appended: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
