"""Writing: whoever finds no write under way writes for all that wait.

A lone call takes one round trip and waits for nobody; concurrent ones share round trips. There is no timer and no
task of its own. A batch that may or may not have arrived is sent again under the same mark, so it is stored once.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import anyio

from papyra_streams.domain.encoding import encode
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.errors import StreamsError
from papyra_streams.ports import AppendPort, ProducerMark

from .clock import Clock
from .metrics import StreamsMetrics

logger = logging.getLogger("papyra_streams")

# One script call is one step for the server: bounded, so that nobody else waits for long.
_BATCH_RECORDS = 500
_BATCH_BYTES = 1024 * 1024
# Far longer than any retry goes on, short enough that the marks of ended processes do not pile up.
_MARK_LIFETIME = 24 * 3600


@dataclass(slots=True)
class _Ticket:
    """One caller's record, and whether its fate is known."""

    payload: bytes
    settled: bool = False
    withdrawn: bool = False


@dataclass(slots=True)
class _Batch:
    sequence: int
    tickets: list[_Ticket] = field(default_factory=list)
    size: int = 0

    def takes(self, ticket: _Ticket) -> bool:
        fits = len(self.tickets) < _BATCH_RECORDS and self.size + len(ticket.payload) <= _BATCH_BYTES
        return fits or not self.tickets

    def add(self, ticket: _Ticket) -> None:
        self.tickets.append(ticket)
        self.size += len(ticket.payload)


class Journal:
    """Stores records, each once and in the order of the calls. A failure of the server never reaches the caller."""

    def __init__(self, store: AppendPort, keys: Keyspace, metrics: StreamsMetrics, clock: Clock) -> None:
        producer = uuid4().hex
        self._system_id = keys.system_id
        self._clock = clock
        self._lanes = {
            kind: _Lane(store, keys.stream(kind), keys.producer_mark(kind, producer), metrics) for kind in KINDS
        }

    async def record(self, kind: Kind, record: object) -> None:
        """Store a record, and return when the server has it or when it is counted as lost."""
        payload = encode(kind, record, system_id=self._system_id, now=self._clock())
        await self._lanes[kind].write(payload)

    async def flush(self) -> None:
        """Return when nothing that was recorded before is under way any more."""
        for lane in self._lanes.values():
            await lane.flush()


class _Lane:
    """The records on their way to one stream."""

    def __init__(self, store: AppendPort, stream: str, mark: str, metrics: StreamsMetrics) -> None:
        self._store = store
        self._stream = stream
        self._mark = mark
        self._metrics = metrics
        self._waiting: deque[_Ticket] = deque()
        self._batches = self._cut_batches()
        self._batch: _Batch | None = None
        self._writing = anyio.Lock()
        self._lost = 0

    async def write(self, payload: bytes) -> None:
        ticket = _Ticket(payload)
        self._waiting.append(ticket)
        try:
            async with self._writing:
                while not ticket.settled:
                    await self._write_batch()
        finally:
            # A caller that is cancelled before its record was sent takes it back.
            ticket.withdrawn = True

    async def flush(self) -> None:
        async with self._writing:
            while self._batch or self._waiting:
                await self._write_batch()

    async def _write_batch(self) -> None:
        # A batch stays until its fate is known: where the caller that sent it is cancelled, the next sends it again.
        self._batch = self._batch or next(self._batches)
        batch = self._batch
        if batch.tickets:
            await self._store_batch(batch)
        for ticket in batch.tickets:
            ticket.settled = True
        self._batch = None

    def _cut_batches(self) -> Iterator[_Batch]:
        sequence = 0
        while True:
            sequence += 1
            batch = _Batch(sequence)
            while self._waiting and batch.takes(self._waiting[0]):
                ticket = self._waiting.popleft()
                if not ticket.withdrawn:
                    batch.add(ticket)
            yield batch

    async def _store_batch(self, batch: _Batch) -> None:
        mark = ProducerMark(key=self._mark, sequence=batch.sequence, lifetime=_MARK_LIFETIME)
        try:
            await self._store.append(self._stream, [ticket.payload for ticket in batch.tickets], mark=mark)
        except Exception as error:  # noqa: BLE001 -- what escapes here ends the actor system that wanted to record a fact
            self._count_lost(batch, error)
        else:
            self._count_stored(batch)

    def _count_stored(self, batch: _Batch) -> None:
        self._metrics.records_written += len(batch.tickets)
        self._metrics.bytes_written += batch.size
        if self._lost:
            logger.warning("Records are stored again in %s; %d were lost.", self._stream, self._lost)
            self._lost = 0

    def _count_lost(self, batch: _Batch, error: Exception) -> None:
        self._metrics.write_errors += len(batch.tickets)
        # One line when it begins and one when it ends: with the server away, every batch fails.
        if not self._lost:
            unforeseen = None if isinstance(error, StreamsError) else error
            logger.error("Records for %s are lost until further notice: %s", self._stream, error, exc_info=unforeseen)
        self._lost += len(batch.tickets)
