"""What a backend counts."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from papyra.persistence.metrics import PersistenceMetrics

_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class StreamsMetrics(PersistenceMetrics):
    """Papyra's counters, and what became of the records that were written.

    ``records_written``, ``bytes_written`` -- what the server has taken, also from the spool
    ``write_errors`` -- records that are not stored, or not known to be, and will not be tried again
    ``write_retries`` -- batches that were sent again
    ``batches_written`` -- round trips that stored records
    ``records_deduplicated`` -- records the server already had when they were sent again
    ``records_spooled`` -- records that were put on disk while the server was away
    ``records_replayed`` -- records that went from disk to the server
    ``records_dropped`` -- records given up for a server that was away, or refused them; a part of ``write_errors``
    ``spool_errors`` -- times that the spool could not be written or read
    ``fsync_shortfalls``, ``replica_shortfalls`` -- batches in the stream whose durability was not confirmed in time
    ``unreadable_entries`` -- entries that a consumer could not be handed, each acknowledged for its group, or moved to
        the quarantine by a subscription
    ``entries_delivered`` -- deliveries that subscriptions were given
    ``entries_redelivered`` -- those of them that were not the entry's first
    ``entries_acknowledged`` -- deliveries that were acknowledged
    ``entries_quarantined`` -- entries that were rejected, or delivered too often
    ``handler_errors`` -- attempts that failed: a handler raised, or took too long
    ``leases_lost`` -- deliveries that another consumer took over before they were settled
    ``groups_restored`` -- times that a group was lost and created anew
    """

    write_retries: int = 0
    batches_written: int = 0
    records_deduplicated: int = 0
    records_spooled: int = 0
    records_replayed: int = 0
    records_dropped: int = 0
    spool_errors: int = 0
    fsync_shortfalls: int = 0
    replica_shortfalls: int = 0
    unreadable_entries: int = 0
    entries_delivered: int = 0
    entries_redelivered: int = 0
    entries_acknowledged: int = 0
    entries_quarantined: int = 0
    handler_errors: int = 0
    leases_lost: int = 0
    groups_restored: int = 0

    def reset(self) -> None:
        """Set every counter to zero; Papyra's own leaves out the errors."""
        for counter in fields(self):
            setattr(self, counter.name, 0)

    def snapshot(self) -> Mapping[str, int]:
        """Return the counters by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often a value fell into each bucket.

    ``bounds`` -- the upper bound of each bucket, itself included; one more bucket takes what is above the last
    ``counts`` -- how many values fell into each, so one more than there are bounds
    ``total`` -- the sum of all values
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The values' mean, or 0 if there were none."""
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStats:
    """Where the records are, and how writing went since the backend was built.

    ``queued``, ``queued_bytes`` -- records that wait in memory, those on their way to the server included
    ``in_flight`` -- records that were sent and not answered yet
    ``spooled`` -- records in the spool, as far as this process knows: another one may be emptying it
    ``replayed``, ``dropped``, ``deduplicated`` -- records; ``retried``, ``batches`` -- batches, as in the metrics
    ``batch_sizes`` -- records to a batch
    ``flush_latency`` -- seconds from sending a batch to the server's answer
    """

    queued: int
    queued_bytes: int
    in_flight: int
    spooled: int
    replayed: int
    dropped: int
    retried: int
    deduplicated: int
    batches: int
    batch_sizes: Histogram
    flush_latency: Histogram


class _Tally:
    """A histogram that is being counted."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> Histogram:
        return Histogram(bounds=self._bounds, counts=tuple(self._counts), total=self._total)


@dataclass(slots=True)
class WriteMeter:
    """The counters, and what `WriteStats` shows beyond them."""

    metrics: StreamsMetrics
    queued: int = 0
    queued_bytes: int = 0
    in_flight: int = 0
    spooled: Counter[str] = field(default_factory=Counter)
    batch_sizes: _Tally = field(default_factory=lambda: _Tally(_BATCH_SIZES))
    flush_latency: _Tally = field(default_factory=lambda: _Tally(_SECONDS))

    def lose(self, records: int) -> None:
        """Count records that were given up."""
        self.metrics.records_dropped += records
        self.metrics.write_errors += records

    def read(self) -> WriteStats:
        """Return what is known at this moment."""
        metrics = self.metrics
        return WriteStats(
            queued=self.queued,
            queued_bytes=self.queued_bytes,
            in_flight=self.in_flight,
            spooled=self.spooled.total(),
            replayed=metrics.records_replayed,
            dropped=metrics.records_dropped,
            retried=metrics.write_retries,
            deduplicated=metrics.records_deduplicated,
            batches=metrics.batches_written,
            batch_sizes=self.batch_sizes.read(),
            flush_latency=self.flush_latency.read(),
        )
