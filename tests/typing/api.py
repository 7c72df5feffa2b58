"""The public API as a user writes it. Nothing here is run: mypy checks that the types are what they should be."""

from dataclasses import replace
from pathlib import Path
from typing import assert_type

import anyio
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import (
    PersistedAudit,
    PersistedDeadLetter,
    PersistedEvent,
    PersistenceRecoveryConfig,
    PersistenceRecoveryMode,
)

from papyra_streams import (
    ConsumerStatus,
    Delivery,
    GroupStatus,
    HeldBack,
    Histogram,
    PendingSummary,
    QuarantinedEntry,
    RedisConsumerGroupConfig,
    RedisStreamEntry,
    RedisStreamsConfig,
    RedisStreamsPersistence,
    ReplayReport,
    StreamAnomaly,
    StreamKind,
    StreamsCompactionReport,
    StreamsError,
    StreamsMetrics,
    StreamsRecoveryReport,
    StreamsScanReport,
    Subscription,
    SubscriptionConfig,
    WritePolicy,
    WriteStats,
)
from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import StreamStore, Timeouts


def build() -> PersistenceBackend:
    """Build a backend, which Papyra takes as one of its own."""
    return RedisStreamsPersistence(
        RedisStreamsConfig("redis://localhost", "papyra", "orders", driver="valkey", connect_timeout=1, partitions=4),
        retention_policy=RetentionPolicy(max_records=10),
    )


def build_with_a_store_of_ones_own(store: StreamStore) -> RedisStreamsPersistence:
    """Build a backend over a driver that the user opened."""
    return RedisStreamsPersistence(store=store)


async def record(backend: RedisStreamsPersistence, event: PersistedEvent, letter: PersistedDeadLetter) -> None:
    """Record models and mappings."""
    await backend.record_event(event)
    await backend.record_event({"event_type": "x"})
    await backend.record_dead_letter(letter)


async def record_many(backend: RedisStreamsPersistence, event: PersistedEvent, audits: list[PersistedAudit]) -> None:
    """Record models of several kinds, and whatever comes out of a generator."""
    assert_type(await backend.record_many([event, {"kind": "audit"}]), int)
    await backend.record_many(audits)
    await backend.record_many(audit for audit in audits)


def write(directory: Path) -> None:
    """Say how to write, and look at how it went."""
    policy = WritePolicy(spool_dir=directory, durability="replicas=2", on_shortfall="count", queue_seconds=3)
    backend = RedisStreamsPersistence(RedisStreamsConfig(write_policy=policy))
    assert_type(backend.stats(), WriteStats)
    assert_type(backend.stats().flush_latency, Histogram)
    assert_type(backend.stats().batch_sizes.mean, float)


async def read(backend: RedisStreamsPersistence) -> None:
    """Read back."""
    assert_type(await backend.list_events(limit=3, since=1.7e9), tuple[PersistedEvent, ...])
    assert_type(await backend.list_audits(), tuple[PersistedAudit, ...])
    assert_type(await backend.list_dead_letters(since=5), tuple[PersistedDeadLetter, ...])


async def consume(backend: RedisStreamsPersistence, kind: StreamKind) -> None:
    """Work through a consumer group."""
    await backend.ensure_consumer_group(kind=kind, group="billing", start_id="$")
    settings = RedisConsumerGroupConfig(group="billing", consumer="one", block_ms=None)
    entries = assert_type(await backend.consume(kind="events", cfg=settings), tuple[RedisStreamEntry, ...])
    ids = [entry.id for entry in entries]
    assert_type(await backend.ack(kind="events", group="billing", ids=ids), int)
    claimed = await backend.claim("events", group="billing", consumer="two", min_idle_ms=0, entry_ids=ids)
    assert_type(claimed, list[RedisStreamEntry])
    summary = assert_type(await backend.pending_summary(kind=kind, group="billing"), PendingSummary)
    assert_type(summary.min_id, str | None)


async def work(backend: RedisStreamsPersistence) -> None:
    """Work on a subscription, one delivery at a time and in lists."""
    settings = SubscriptionConfig(group="billing", concurrency=3, ordering="actor")

    async def handle(delivery: Delivery) -> None:
        assert_type(delivery.attempt, int)
        assert_type(delivery.record, PersistedEvent | PersistedAudit | PersistedDeadLetter)
        await delivery.nack(delay=1.5)

    async def handle_some(deliveries: list[Delivery]) -> None:
        await deliveries[0].reject("no good")

    await backend.process(kind="events", cfg=settings, handler=handle, stop=anyio.Event())
    await backend.process(kind=("events", "audits"), cfg=replace(settings, batch_size=3), handler=handle_some)
    async with backend.subscription(kind="events", cfg=settings) as subscription:
        assert_type(subscription, Subscription)
        async for delivery in subscription:
            async with delivery:
                assert_type(delivery, Delivery)


async def look_after_a_group(backend: RedisStreamsPersistence) -> None:
    """See how a group stands, and what it gave up."""
    status = assert_type(await backend.group_status(kind="events", group="billing"), GroupStatus)
    assert_type(status.lag, int | None)
    assert_type(await backend.consumers(kind="events", group="billing"), tuple[ConsumerStatus, ...])
    assert_type(await backend.remove_idle_consumers(kind="events", group="billing", older_than=3600), tuple[str, ...])
    entries = assert_type(await backend.quarantine_list(kind="events", limit=None), tuple[QuarantinedEntry, ...])
    ids = [entry.id for entry in entries]
    assert_type(await backend.quarantine_replay(kind="events", ids=ids), ReplayReport)
    assert_type(await backend.quarantine_drop(kind="events", ids=ids), int)


async def operate(backend: RedisStreamsPersistence) -> None:
    """Scan, recover, compact and close."""
    report = assert_type(await backend.scan(), StreamsScanReport)
    for anomaly in report.anomalies:
        if isinstance(anomaly, StreamAnomaly):
            assert_type(anomaly.entry_id, str)
    quarantine = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.QUARANTINE)
    assert_type(await backend.recover(quarantine), StreamsRecoveryReport)
    compacted = assert_type(await backend.compact(), StreamsCompactionReport)
    assert_type(compacted.held_back, tuple[HeldBack, ...])
    metrics = assert_type(backend.metrics, StreamsMetrics)
    assert_type(metrics.write_retries, int)
    assert_type(backend.closed, bool)
    await backend.aclose()


def code_of(error: StreamsError) -> str:
    """Tell which word the server used."""
    return error.code


def driver(endpoint: Endpoint, timeouts: Timeouts) -> StreamStore:
    """Stand for a driver's entry point."""
    raise NotImplementedError(endpoint.host, timeouts.command)
