"""One batch on its way to the server, once."""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic

from papyra_streams.domain.writing import WritePolicy
from papyra_streams.ports import Appended, AppendPort, Confirmation, ProducerMark

from .metrics import WriteMeter

logger = logging.getLogger("papyra_streams")

# Longer than a process that left records in a spool is likely to stay away: after that, a batch whose reply it never
# saw would be stored twice. An ended process leaves one such key for each stream that it wrote to.
_MARK_LIFETIME = 7 * 24 * 3600


class Sender:
    """Sends batches to one stream, and counts what comes of them. Repeating is left to the callers.

    :param mark_of: names the key of a producer's mark
    """

    def __init__(
        self,
        store: AppendPort,
        stream: str,
        mark_of: Callable[[str], str],
        policy: WritePolicy,
        meter: WriteMeter,
    ) -> None:
        self.stream = stream
        self._store = store
        self._mark_of = lru_cache(maxsize=16)(mark_of)
        self._meter = meter
        self._confirmation = _confirmation(policy)
        self._logs_shortfall = policy.on_shortfall == "log"
        self._falls_short = False

    async def send(self, producer: str, first: int, payloads: Sequence[bytes], size: int) -> None:
        """Store records, of which the server leaves out those that it already has; return when it has them all."""
        begun = monotonic()
        self._meter.in_flight += len(payloads)
        try:
            appended = await self._store.append(
                self.stream,
                payloads,
                mark=ProducerMark(key=self._mark_of(producer), first=first, lifetime=_MARK_LIFETIME),
                confirmation=self._confirmation,
            )
        finally:
            self._meter.in_flight -= len(payloads)
        metrics = self._meter.metrics
        metrics.batches_written += 1
        metrics.records_written += len(payloads)
        metrics.bytes_written += size
        metrics.records_deduplicated += len(payloads) - appended.count
        self._meter.batch_sizes.add(len(payloads))
        self._meter.flush_latency.add(monotonic() - begun)
        if self._confirmation:
            self._judge(appended)

    def count_retry(self) -> None:
        """Count that a batch is sent again."""
        self._meter.metrics.write_retries += 1

    def _judge(self, appended: Appended) -> None:
        if not appended.confirmed:
            if self._confirmation and self._confirmation.fsync:
                self._meter.metrics.fsync_shortfalls += 1
            else:
                self._meter.metrics.replica_shortfalls += 1
        if self._logs_shortfall and self._falls_short == appended.confirmed:
            if appended.confirmed:
                logger.warning("Records in %s are confirmed again.", self.stream)
            else:
                logger.warning("Records in %s are stored, but their durability is not confirmed in time.", self.stream)
        self._falls_short = not appended.confirmed


def _confirmation(policy: WritePolicy) -> Confirmation | None:
    if not policy.fsync and not policy.replicas:
        return None
    return Confirmation(
        fsync=policy.fsync, replicas=policy.replicas, timeout_ms=max(1, round(policy.durability_timeout * 1000))
    )
