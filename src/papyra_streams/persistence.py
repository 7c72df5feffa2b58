"""The backend Papyra is given."""

import logging
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import anyio
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.base import PersistenceBackend
from papyra.persistence.models import (
    PersistedAudit,
    PersistedDeadLetter,
    PersistedEvent,
    PersistenceRecoveryConfig,
)

from . import drivers
from .application.integrity import NAMED
from .application.metrics import StreamsMetrics, WriteMeter, WriteStats
from .application.notices import unforeseen
from .application.outages import OUTAGES
from .application.sweeping import on_progress
from .composition import compose
from .config import RedisStreamsConfig
from .domain import records
from .domain.arguments import check_count
from .domain.kinds import AUDITS, DEAD_LETTERS, EVENTS, Kind
from .domain.partitions import Partition
from .domain.reports import OnProgress, StreamsCompactionReport, StreamsRecoveryReport, StreamsScanReport, not_scanned
from .domain.retention import check_policy
from .errors import InvalidValue, PermissionDenied, TimedOut, UnsupportedOperation
from .group_calls import GroupCalls
from .lifetime import Lifetime
from .ports import StreamStore

logger = logging.getLogger("papyra_streams")

_AWAY = (*OUTAGES, PermissionDenied, TimedOut)
"""What keeps a scan from being made, and is no mistake of the caller."""


class RedisStreamsPersistence(GroupCalls, PersistenceBackend):
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
        client: object | None = None,
    ) -> None:
        """Check the settings and find the driver.

        :param retention_policy: what reads show and compaction keeps; without one, everything
        :param store: a driver of your own in place of ``config.driver``; it is not closed with the backend
        :param client: an asynchronous client of redis-py, valkey-py or coredis, in place of ``config.driver`` and of
            ``config.url``, ``credentials``, ``ca``, ``cert`` and ``key``: its addresses, credentials and TLS are used
            for connections of the backend's own, neither its connections nor its retries; it is never closed
        :raises ConfigurationError: if a setting cannot be used, or the driver is unknown or not installed
        """
        super().__init__(retention_policy=retention_policy)
        self.config = RedisStreamsConfig() if config is None else config
        if not isinstance(self.config, RedisStreamsConfig):
            raise InvalidValue(f"`config` must be a RedisStreamsConfig, not {type(config).__name__}.")
        policy = retention_policy or RetentionPolicy()
        check_policy(policy)
        target = self.config.target()
        if client is not None:
            if store is not None:
                raise InvalidValue("Give `store` or `client`, not both.")
            if place := ", ".join(f"`{name}`" for name in self.config.place()):
                raise InvalidValue(
                    f"`client` says where the servers are, and so does the config: leave out {place}, or `client`."
                )
            name, target = drivers.adopt(client)
            self.config = replace(self.config, driver=name)
        if store is None:
            drivers.load(self.config.driver)
        self._metrics: StreamsMetrics = StreamsMetrics()
        self._meter = WriteMeter(self._metrics)
        self._lifetime = Lifetime(
            target,
            lambda server: compose(
                self.config, policy, self._meter, server, revive=self._lifetime.rejoin_server, store=store
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
            stream = self.config.keyspace().stream(Partition(kind))
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

    # -- operations

    async def scan(
        self, *, full: bool = False, limit: int | None = NAMED, progress: OnProgress | None = None
    ) -> StreamsScanReport:
        """Report what is wrong with the newest ``config.scan_sample_size`` entries of each stream; write nothing.

        An entry is bad exactly if the ``list_*`` methods and consumers would skip it; what retention hides is left out.
        Pending entries that the stream no longer has are reported too, among as many of each group.

        If the server is away, or too slow for ``config.startup_timeout``, the one anomaly reported is that: Papyra's
        startup modes then go on, or fail, as they do for others. With ``full`` it is raised.

        :param full: read everything that retention does not hide, page by page, in memory that does not grow with it
        :param limit: how many anomalies are named one by one, the newest of each stream first; None for all
        :param progress: is awaited after each page
        """
        _check_limit(limit)
        tell = on_progress(progress)
        try:
            with self._counting("scans", "scan_errors"), self._in_time(full=full):
                services = await self._lifetime.services()
                report = await services.integrity.scan(full=full, limit=limit, report=tell)
        except _AWAY as error:
            if full:
                raise
            report = not_scanned(self.config.keyspace().namespace, error)
        self._metrics.anomalies_detected += report.found
        return report

    async def recover(
        self,
        config: PersistenceRecoveryConfig | None = None,
        *,
        full: bool = False,
        progress: OnProgress | None = None,
    ) -> StreamsRecoveryReport:
        """Take what a scan would find out of the way, as ``config.mode`` says; then compact.

        REPAIR deletes bad entries, QUARANTINE moves them to the quarantine, each off every group's pending list in the
        same step. REBUILD deletes all that a full scan finds, and writes each stream anew, without the holes that
        deleted entries leave in the server's memory. What retention hides is left to the compaction at the end. Streams
        are never deleted, and it goes in short steps; only a rebuild's last one takes longer the more entries are
        pending. It may be run again, or twice at once. In the report, "files" are the keys of streams.

        :param full: go through everything; else so far back that the next `scan` finds nothing
        :param progress: is awaited after each page
        :raises TimedOut: if it takes longer than ``config.startup_timeout``, and is not ``full``
        """
        chosen = PersistenceRecoveryConfig() if config is None else config
        if not isinstance(chosen, PersistenceRecoveryConfig):
            raise InvalidValue(f"`config` must be a PersistenceRecoveryConfig, not {config!r}.")
        tell = on_progress(progress)
        with self._counting("recoveries", "recovery_errors"), self._in_time(full=full):
            services = await self._lifetime.services()
            report = await services.integrity.recover(chosen, full=full, report=tell)
        self._metrics.scans += 1
        self._metrics.anomalies_detected += report.scan.found
        return report

    async def compact(self, *, dry_run: bool = False) -> StreamsCompactionReport:
        """Remove from the server what retention no longer shows, except what a consumer group still needs.

        :param dry_run: only tell what would go; with ``approx_trim`` less does, by up to a node of the stream
        """
        with self._counting("compactions", "compaction_errors"):
            services = await self._lifetime.services()
            return await services.compaction.run(dry=dry_run)

    @contextmanager
    def _in_time(self, *, full: bool) -> Iterator[None]:
        seconds = None if full else self.config.startup_timeout
        with anyio.move_on_after(seconds) as scope:
            yield
        if scope.cancelled_caught:
            raise TimedOut(f"It was not done within `startup_timeout`, {seconds:g} s; what is done stays done.")

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


def _check_limit(limit: object) -> None:
    if limit is not None:
        check_count("limit", limit)
