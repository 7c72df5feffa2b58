"""The backend Papyra is given."""

import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import (
    PersistedAudit,
    PersistedDeadLetter,
    PersistedEvent,
    PersistenceRecoveryConfig,
    PersistenceRecoveryReport,
    PersistenceScanReport,
)

from . import drivers
from .application.metrics import StreamsMetrics, WriteMeter, WriteStats
from .application.notices import unforeseen
from .application.subscribing.subscription import Subscription
from .composition import compose
from .config import RedisConsumerGroupConfig, RedisStreamsConfig
from .domain import records
from .domain.groups import (
    ConsumerStatus,
    GroupStatus,
    PendingSummary,
    QuarantinedEntry,
    RedisStreamEntry,
    ReplayReport,
)
from .domain.kinds import AUDITS, DEAD_LETTERS, EVENTS, Kind, StreamKind, kind_named
from .domain.reports import StreamsCompactionReport
from .domain.retention import check_policy
from .domain.subscribing import SubscriptionConfig
from .endpoint import parse_url
from .errors import InvalidValue, UnsupportedOperation
from .lifetime import Lifetime
from .ports import StreamStore

logger = logging.getLogger("papyra_streams")


class RedisStreamsPersistence(PersistenceBackend):
    """Keeps an actor system's events, audits and dead letters in Redis or Valkey Streams.

    A drop-in for Papyra's own Redis backend: the same keys, entries and methods. Building it does not connect; the
    first call does. One object serves several event loops one after another; it closes with `aclose()` or the loop.

    Methods raise errors of `papyra_streams.errors`; the ``record_*`` methods alone never raise on account of the
    server, since Papyra runs them in the actor system's own task group: they try again, then count and log the loss.
    """

    def __init__(
        self,
        config: RedisStreamsConfig | None = None,
        *,
        retention_policy: RetentionPolicy | None = None,
        store: StreamStore | None = None,
    ) -> None:
        """Check the settings and find the driver.

        :param retention_policy: what reads show and compaction keeps; without one, everything
        :param store: a driver of your own in place of ``config.driver``; it is not closed with the backend
        :raises ConfigurationError: if a setting cannot be used, or the driver is unknown or not installed
        """
        super().__init__(retention_policy=retention_policy)
        self.config = RedisStreamsConfig() if config is None else config
        if not isinstance(self.config, RedisStreamsConfig):
            raise InvalidValue(f"`config` must be a RedisStreamsConfig, not {type(config).__name__}.")
        policy = retention_policy or RetentionPolicy()
        check_policy(policy)
        if store is None:
            drivers.load(self.config.driver)
        self._metrics: StreamsMetrics = StreamsMetrics()
        self._meter = WriteMeter(self._metrics)
        self._lifetime = Lifetime(
            parse_url(self.config.url),
            lambda endpoint: compose(
                self.config, policy, self._meter, endpoint, revive=self._lifetime.rejoin_server, store=store
            ),
            closes_store=store is None,
        )

    @property
    def metrics(self) -> StreamsMetrics:
        """What this backend has counted since it was built; Papyra's names and some more."""
        return self._metrics

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._lifetime.closed

    def stats(self) -> WriteStats:
        """Return where the records are at this moment, and how writing went since the backend was built."""
        return self._meter.read()

    # -- writing

    async def record_event(self, event: PersistedEvent | Mapping[str, Any] | Any) -> None:
        """Store a lifecycle event.

        Return when the server has it, or the spool, or when it is counted as lost in ``metrics.write_errors``; the
        write policy says what is waited for, and how long.
        """
        await self._record(EVENTS, event)

    async def record_audit(self, report: PersistedAudit | Mapping[str, Any] | Any) -> None:
        """Store an audit; otherwise like `record_event`."""
        await self._record(AUDITS, report)

    async def record_dead_letter(self, dead_letter: PersistedDeadLetter | Mapping[str, Any] | Any) -> None:
        """Store a message that could not be delivered; otherwise like `record_event`."""
        await self._record(DEAD_LETTERS, dead_letter)

    async def record_many(
        self,
        records: Iterable[PersistedEvent | PersistedAudit | PersistedDeadLetter | Mapping[str, Any]]
        | AsyncIterable[PersistedEvent | PersistedAudit | PersistedDeadLetter | Mapping[str, Any]],
    ) -> int:
        """Store records of any kinds, in order, and return how many there were.

        It takes them as they come: of any number, a few batches of 500 at a time are in memory. What becomes of each is
        as with `record_event`.

        :param records: Papyra's models, or mappings with their fields and ``kind``: event, audit or dead_letter
        :raises UnknownKind: at a record of another kind; those before it are stored
        :raises InvalidValue: if ``records`` is no collection
        """
        if isinstance(records, Mapping | str | bytes) or not isinstance(records, Iterable | AsyncIterable):
            raise InvalidValue(f"Give a list of records, or what yields them one by one, not {type(records).__name__}.")
        services = await self._lifetime.services()
        return await services.journal.record_many(records)

    async def _record(self, kind: Kind, record: object) -> None:
        try:
            services = await self._lifetime.services()
        except UnsupportedOperation as error:
            # What was asked for will never work here: better no actor system than one without its records. It ends
            # without telling why.
            logger.error("No record can be stored: %s", error)  # noqa: TRY400 -- it is raised as well
            raise
        except Exception as error:
            self._meter.lose(1)
            stream = self.config.keyspace().stream(kind)
            logger.error("A record for %s is lost: %s", stream, error, exc_info=unforeseen(error))  # noqa: TRY400 -- only some have a fault to trace
        else:
            await services.journal.record(kind, record)

    # -- reading

    async def list_events(self, *, limit: int | None = None, since: float | None = None) -> tuple[PersistedEvent, ...]:
        """Return the newest events that retention shows, oldest first.

        :param limit: how many at most
        :param since: only those recorded then or later: seconds since the epoch, or on the actor system's own clock
        """
        return tuple(
            records.event(record, self.config.system_id) for record in await self._newest(EVENTS, limit, since)
        )

    async def list_audits(self, *, limit: int | None = None, since: float | None = None) -> tuple[PersistedAudit, ...]:
        """Return the newest audits; otherwise like `list_events`."""
        return tuple(
            records.audit(record, self.config.system_id) for record in await self._newest(AUDITS, limit, since)
        )

    async def list_dead_letters(
        self, *, limit: int | None = None, since: float | None = None
    ) -> tuple[PersistedDeadLetter, ...]:
        """Return the newest dead letters; otherwise like `list_events`."""
        return tuple(
            records.dead_letter(record, self.config.system_id)
            for record in await self._newest(DEAD_LETTERS, limit, since)
        )

    async def _newest(self, kind: Kind, limit: int | None, since: float | None) -> list[records.Record]:
        services = await self._lifetime.services()
        return await services.history.newest(kind, limit=limit, since=since)

    # -- consumer groups

    async def ensure_consumer_group(self, *, kind: StreamKind, group: str, start_id: str = "0") -> None:
        """Create a consumer group, and its stream, unless they are there; one that is there keeps its position.

        :param start_id: ``"0"`` to begin with the oldest entry, ``"$"`` with new ones, or an id to begin after
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        await services.consuming.ensure_group(stream_kind, group, start_id)

    async def consume(
        self, *, kind: StreamKind, cfg: RedisConsumerGroupConfig, read_id: str = ">"
    ) -> tuple[RedisStreamEntry, ...]:
        """Give entries to a consumer; they stay pending until `ack`. Delivery is at least once.

        An entry that cannot be read is acknowledged for the group, counted and logged, and stays in the stream. An
        empty answer means that there was nothing to read within ``cfg.block_ms``.

        :param read_id: ``">"`` for entries nobody was given; ``"0"`` or an id for this consumer's own pending ones
        :raises GroupMissing: if the group is missing and ``cfg.ensure_group`` is false
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.consume(stream_kind, cfg, read_id)

    async def ack(self, *, kind: StreamKind, group: str, ids: Sequence[str]) -> int:
        """Acknowledge entries; return how many of them were pending."""
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.acknowledge(stream_kind, group, ids)

    async def pending_summary(self, *, kind: StreamKind, group: str) -> PendingSummary:
        """Summarise what a group has not acknowledged; a group that is missing has nothing pending."""
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.pending(stream_kind, group)

    async def claim(
        self, kind: StreamKind, *, group: str, consumer: str, min_idle_ms: int, entry_ids: Sequence[str]
    ) -> list[RedisStreamEntry]:
        """Give pending entries that nobody has touched for ``min_idle_ms`` to another consumer, and return them.

        Ids that are not pending, or not idle for long enough, are left out; so are unreadable ones, as in `consume`.
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.claim(stream_kind, group, consumer, min_idle_ms, entry_ids)

    # -- subscriptions

    @asynccontextmanager
    async def subscription(
        self, *, kind: StreamKind | Sequence[StreamKind], cfg: SubscriptionConfig
    ) -> AsyncIterator[Subscription]:
        """Share in a consumer group: ``async for delivery in subscription``, for as long as the ``async with`` lasts.

        The group is created if need be. Each delivery is this worker's until it is settled, or the worker gives no sign
        of life; at the end, what is not settled is handed over to the other workers. Connections and groups that are
        lost are made good.

        :param kind: of the stream to read, or several kinds, each once
        """
        kinds = _kinds(kind)
        services = await self._lifetime.services()
        async with services.subscriptions.new(kinds, cfg) as subscription:
            yield subscription

    async def process(
        self,
        *,
        kind: StreamKind | Sequence[StreamKind],
        cfg: SubscriptionConfig,
        handler: Callable[[Any], Awaitable[object]],
        stop: anyio.Event | None = None,
    ) -> None:
        """Work on a subscription: run a handler for each delivery; acknowledge it, or deliver it again if that raises.

        It returns after SIGTERM, where that has no other handler, or after ``stop`` is set: what is in hand is finished
        within ``cfg.grace``, and the rest handed over. Cancelling it hands over at once.

        :param handler: an async function of one `Delivery`; of a list of them with ``cfg.batch_size``
        :raises InvalidValue: if the handler is no async function
        :raises GroupMissing: if the group is lost and ``cfg.on_group_lost`` is ``"fail"``
        """
        kinds = _kinds(kind)
        services = await self._lifetime.services()
        await services.subscriptions.process(kinds, cfg, handler, stop)

    # -- operations on groups

    async def group_status(self, *, kind: StreamKind, group: str) -> GroupStatus:
        """Tell how a group stands: what it has before it, what it has in hand, and since when; write nothing.

        :raises GroupMissing: if there is no such group
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.groups.status(stream_kind, group)

    async def consumers(self, *, kind: StreamKind, group: str) -> tuple[ConsumerStatus, ...]:
        """Return a group's consumers, by name.

        ``papyra-streams:released`` is no worker: it holds what workers let go of until another takes it.

        :raises GroupMissing: if there is no such group
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.groups.consumers(stream_kind, group)

    async def remove_idle_consumers(self, *, kind: StreamKind, group: str, older_than: float) -> tuple[str, ...]:
        """Remove a group's consumers that were not heard of for ``older_than`` seconds; return their names.

        One that holds an entry stays, since its entries would be lost to the group. A worker that lives, and only found
        nothing to read, which no server counts before Redis 7.2, is back with its next entry.

        :raises GroupMissing: if there is no such group
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.groups.remove_idle(stream_kind, group, older_than)

    # -- quarantine

    async def quarantine_list(
        self, *, kind: StreamKind, limit: int | None = 100, after: str | None = None
    ) -> tuple[QuarantinedEntry, ...]:
        """Return what is in quarantine, oldest first: what a recovery moved there, and what groups gave up.

        :param limit: how many at most; None for all
        :param after: only those behind this one, by its id in the quarantine, as for the next page
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.quarantine.entries(stream_kind, limit=limit, after=after)

    async def quarantine_replay(self, *, kind: StreamKind, ids: Sequence[str]) -> ReplayReport:
        """Put entries back, and take them out of the quarantine; a second call finds them missing.

        The group that gave an entry up gets it again, and no other does. Where the stream no longer has it, or the
        group is gone, it is appended anew with ``replay_of``, its old id.

        :param ids: their ids in the quarantine
        :raises Rejected: at one that has nothing to append, as somebody else put it there; those before it are back
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.quarantine.replay(stream_kind, ids)

    async def quarantine_drop(self, *, kind: StreamKind, ids: Sequence[str]) -> int:
        """Remove entries from the quarantine for good, by their ids there; return how many there were."""
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.quarantine.drop(stream_kind, ids)

    # -- operations

    async def scan(self) -> PersistenceScanReport:
        """Report the bad entries among the newest ``config.scan_sample_size`` of each stream; write nothing.

        An entry is bad exactly if the ``list_*`` methods and consumers would skip it.
        """
        services = await self._lifetime.services()
        with self._counting("scans", "scan_errors"):
            report = await services.integrity.scan()
        self._metrics.anomalies_detected += len(report.anomalies)
        return report

    async def recover(self, config: PersistenceRecoveryConfig | None = None) -> PersistenceRecoveryReport:
        """Scan and, as ``config.mode`` says, delete bad entries or move them to the quarantine; then compact.

        Each is taken off every group's pending list in the same step. Streams are never deleted, writers never
        blocked. In the report, "files" are the keys of streams.
        """
        chosen = PersistenceRecoveryConfig() if config is None else config
        if not isinstance(chosen, PersistenceRecoveryConfig):
            raise InvalidValue(f"`config` must be a PersistenceRecoveryConfig, not {config!r}.")
        services = await self._lifetime.services()
        with self._counting("recoveries", "recovery_errors"):
            report = await services.integrity.recover(chosen)
        self._metrics.scans += 1
        self._metrics.anomalies_detected += len(report.scan.anomalies)
        return report

    async def compact(self) -> StreamsCompactionReport:
        """Remove from the server what retention no longer shows, except what a consumer group still needs."""
        services = await self._lifetime.services()
        with self._counting("compactions", "compaction_errors"):
            return await services.compaction.run()

    @contextmanager
    def _counting(self, begun: str, failed: str) -> Iterator[None]:
        setattr(self._metrics, begun, getattr(self._metrics, begun) + 1)
        try:
            yield
        except Exception:
            setattr(self._metrics, failed, getattr(self._metrics, failed) + 1)
            raise

    async def aclose(self) -> None:
        """Store what is under way and close; from any task, once or more often, in bounded time.

        What the server does not take within the write policy's ``close_timeout`` goes to the spool, or is counted as
        lost. A record that comes later is lost too, which is counted in ``metrics.write_errors`` and logged; everything
        else raises `Closed`.
        """
        await self._lifetime.aclose()


def _kinds(named: StreamKind | Sequence[StreamKind]) -> list[Kind]:
    names = [named] if isinstance(named, str) else list(named)
    if not names or len(set(names)) < len(names):
        raise InvalidValue(f"`kind` must name one kind, or several, each once, not {named!r}.")
    return [kind_named(name) for name in names]
