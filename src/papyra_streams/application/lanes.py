"""The records that wait for their turn on the way to one stream.

Whoever finds nothing under way writes at once; who comes meanwhile shares the next batch, which a task writes that
ends when nothing is left. A lone call waits for nobody. Where one call comes soon after another, each from a task of
its own, as from an actor system, they wait a little for each other: a round trip for each would cost the event loop
more than all the rest.
"""

from collections import deque
from collections.abc import Collection
from time import monotonic

from papyra_streams.domain.writing import WritePolicy
from papyra_streams.tasks import DetachedTask, spawn

from .batches import MOST_BYTES, MOST_RECORDS, Batch
from .company import Company
from .metrics import WriteMeter
from .outlets import Outlet

# What is dropped at a time is a batch, so a batch is a small part of what may wait.
_PARTS = 10


class Lane:
    """Keeps the order of the calls, and the bounds of what waits in memory. One batch at a time is under way."""

    def __init__(self, outlet: Outlet, policy: WritePolicy, meter: WriteMeter, others: Collection["Lane"]) -> None:
        """Take one outlet's records; ``others`` will be all the lanes that share the bounds, this one among them."""
        self._outlet = outlet
        self._others = others
        self._policy = policy
        self._meter = meter
        self._company = Company(policy.linger)
        self._batch_records = min(MOST_RECORDS, max(1, policy.queue_records // _PARTS))
        self._batch_bytes = min(MOST_BYTES, max(1, policy.queue_bytes // _PARTS))
        self._queue: deque[Batch] = deque()
        self._current: Batch | None = None
        self._writer: DetachedTask[None] | None = None

    async def write(self, payload: bytes) -> None:
        """Write one record; return when the server has it, or the disk, or when it is counted as dropped."""
        now = monotonic()
        is_patient = self._company.suits_caller()
        if self._is_busy or self._queue or (is_patient and self._company.is_expected(now)):
            await self.join(payload, is_patient=is_patient).wait()
            return
        batch = Batch(now)
        self._add(batch, payload)
        try:
            await self._see_to(batch)
        finally:
            if self._queue:
                self._ensure_writer()

    def join(self, payload: bytes, *, is_patient: bool = False) -> Batch:
        """Add a record to those that wait, and return the batch that it shares."""
        batch = self._open_batch(payload)
        batch.is_patient = batch.is_patient and is_patient
        self._add(batch, payload)
        if not batch.is_patient or len(self._queue) > 1:
            self._company.suffices()
        if self._is_over_bounds() and self._outlet.is_failing:
            self._relieve()
        self._ensure_writer()
        return batch

    async def flush(self) -> None:
        """Wait until nothing that was recorded before this call is under way."""
        last = self._queue[-1] if self._queue else self._current
        if last:
            last.is_patient = False
            self._company.suffices()
            if not self._is_busy:
                # Not in a task: where an event loop is about to end, none can be started.
                await self._write_queue()
            await last.wait()

    @property
    def can_give_way(self) -> bool:
        """Whether something waits that the server would not take."""
        return bool(self._queue) and self._outlet.is_failing

    @property
    def waits_since(self) -> float:
        """When the oldest that waits was recorded."""
        return self._queue[0].born

    def drop_oldest(self) -> None:
        """Give up what has waited longest."""
        oldest = self._queue.popleft()
        self._outlet.drop(oldest)
        self._subtract(oldest)

    @property
    def _is_busy(self) -> bool:
        return self._current is not None or (self._writer is not None and not self._writer.done)

    def _open_batch(self, payload: bytes) -> Batch:
        if not self._queue or not self._queue[-1].takes(payload, records=self._batch_records, size=self._batch_bytes):
            self._queue.append(Batch(monotonic()))
        return self._queue[-1]

    def _add(self, batch: Batch, payload: bytes) -> None:
        batch.add(payload)
        self._meter.queued += 1
        self._meter.queued_bytes += len(payload)

    def _subtract(self, batch: Batch) -> None:
        self._meter.queued -= len(batch.payloads)
        self._meter.queued_bytes -= batch.size

    def _is_over_bounds(self) -> bool:
        return self._meter.queued > self._policy.queue_records or self._meter.queued_bytes > self._policy.queue_bytes

    def _relieve(self) -> None:
        if self._outlet.can_spool:
            self._outlet.hurry()
            return
        while self._is_over_bounds():
            waiting = [lane for lane in self._others if lane.can_give_way]
            if not waiting:
                return
            min(waiting, key=lambda lane: lane.waits_since).drop_oldest()

    def _ensure_writer(self) -> None:
        if not self._is_busy:
            self._writer = spawn(self._write_queue, name="papyra-streams writer")

    async def _write_queue(self) -> None:
        while self._queue:
            if len(self._queue) == 1:
                await self._company.join(self._queue[0])
            # Another lane may have emptied it meanwhile, to make room.
            if self._queue:
                await self._see_to(self._queue.popleft())

    async def _see_to(self, batch: Batch) -> None:
        self._current = batch
        self._company.note_round_trip(monotonic())
        try:
            await self._outlet.settle(batch)
        finally:
            self._current = None
            if batch.is_settled:
                self._subtract(batch)
            else:
                # Its fate is not known: whoever comes next goes on with it.
                self._queue.appendleft(batch)
