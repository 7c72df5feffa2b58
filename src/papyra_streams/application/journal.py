"""Writing: every record gets to its stream once, in the order of the calls, or is counted as lost.

A failure of the server never reaches the caller.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing, suppress
from functools import partial

import anyio

from papyra_streams.domain.encoding import encode
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.partitions import Partition, number_of
from papyra_streams.domain.records import kind_of
from papyra_streams.domain.writing import WritePolicy
from papyra_streams.errors import Closed, StreamsError, UnsupportedOperation
from papyra_streams.ports import SpoolPort, StreamStore

from .batches import MOST_BYTES, MOST_RECORDS, Batch
from .clock import Clock
from .lanes import Lane
from .metrics import WriteMeter
from .outlets import Outlet
from .sending import Sender
from .spooling import Spooling

logger = logging.getLogger("papyra_streams")

# While one batch is on its way the next is being encoded, and no more: memory stays bounded.
_BYTES_AHEAD = 2 * MOST_BYTES
# Partitions share what is ahead, so that each has small batches: with three to share, they are half as large again.
_BYTES_AHEAD_OF_PARTITIONS = 3 * MOST_BYTES
# Where records are small, a batch is full by their number.
_LEAST_BYTES = MOST_BYTES // MOST_RECORDS


class _Ahead:
    """The batches that `Journal.record_many` waits for, in the order they were begun, and how much it put in each."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._batches: dict[Batch, int] = {}
        self._bytes = 0

    async def add(self, batch: Batch, payload: bytes) -> None:
        """Count one more record; return once there is not too much of them."""
        size = max(len(payload), _LEAST_BYTES)
        self._batches[batch] = self._batches.get(batch, 0) + size
        self._bytes += size
        while self._bytes > self._most_bytes and len(self._batches) > 1:
            oldest = next(iter(self._batches))
            await oldest.wait()
            self._bytes -= self._batches.pop(oldest)

    async def wait(self) -> None:
        """Wait for them all."""
        for batch in self._batches:
            await batch.wait()


class Journal:
    """Stores records. Each journal is a producer of its own, whose records the server can tell apart by number."""

    def __init__(
        self,
        store: StreamStore,
        keys: Keyspace,
        policy: WritePolicy,
        meter: WriteMeter,
        clock: Clock,
        spool: SpoolPort | None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._system_id = keys.system_id
        self._policy = policy
        self._meter = meter
        self._clock = clock
        self._spooling = Spooling(spool, meter) if spool else None
        self._bytes_ahead = _BYTES_AHEAD if keys.partitions == 1 else _BYTES_AHEAD_OF_PARTITIONS
        self._is_closing = False
        self._outlets: list[Outlet] = []
        self._lanes: list[Lane] = []
        self._lanes_of: dict[Kind, list[Lane]] = {kind: [] for kind in KINDS}
        for partition in keys.all_partitions:
            lane = Lane(self._add_outlet(partition), policy, meter, self._lanes)
            self._lanes.append(lane)
            self._lanes_of[partition.kind].append(lane)

    def _add_outlet(self, partition: Partition) -> Outlet:
        mark_of = partial(self._keys.producer_mark, partition)
        sender = Sender(self._store, self._keys.stream(partition), mark_of, self._policy, self._meter)
        outlet = Outlet(sender, self._policy, self._meter, self._spooling)
        self._outlets.append(outlet)
        return outlet

    async def open(self) -> None:
        """Check that the server can do what durability asks for; begin to send what the spool was left with.

        :raises UnsupportedOperation: if it cannot; with a server that is away, that shows as shortfalls later
        """
        if self._policy.fsync and not await self._can_tell_of_syncs():
            raise UnsupportedOperation(
                'This server does not tell when records are synced to disk, as durability="fsync" needs: that takes'
                " Redis 7.2 or Valkey, `appendonly yes`, and the right to WAITAOF."
            )
        if self._spooling:
            await self._spooling.open()
            await self._see_to_further_partitions(self._spooling)
        for outlet in self._outlets:
            await outlet.open()

    async def _see_to_further_partitions(self, spooling: Spooling) -> None:
        """Send what the spool was left with by a process that had more partitions: to where that would have."""
        for stream in await spooling.streams():
            partition = self._keys.partition_at(stream)
            if partition and partition not in self._keys.partitions_of(partition.kind):
                self._add_outlet(partition)
                logger.warning(
                    "The spool holds records for %s, where no read finds them: there were more partitions before.",
                    stream,
                )

    async def _can_tell_of_syncs(self) -> bool:
        patience = self._policy.patience(has_spool=self._spooling is not None)
        # A server that cannot be asked now is not to keep an actor system from starting.
        with anyio.move_on_after(patience), suppress(StreamsError):
            return (await self._store.capabilities()).fsync
        return True

    async def record(self, kind: Kind, record: object) -> None:
        """Store a record; return when the server has it, or the spool, or when it is counted as lost."""
        payload = encode(kind, record, system_id=self._system_id, now=self._clock())
        await self._lane(kind, record).write(payload)

    def _lane(self, kind: Kind, record: object) -> Lane:
        lanes = self._lanes_of[kind]
        return lanes[0] if len(lanes) == 1 else lanes[number_of(record, len(lanes))]

    async def record_many(self, records: Iterable[object] | AsyncIterable[object]) -> int:
        """Store records as `record` does, and return how many there were; a few batches at a time are in memory.

        :raises UnknownKind: at a record that does not say its kind, once those before it are stored
        :raises Closed: at the first record after `close` was called, likewise
        """
        count = 0
        ahead = _Ahead(self._bytes_ahead)
        try:
            async with aclosing(_each(records)) as all_records:
                async for record in all_records:
                    await self._add(record, ahead)
                    count += 1
        finally:
            await ahead.wait()
        return count

    async def _add(self, record: object, ahead: _Ahead) -> None:
        if self._is_closing:
            raise Closed("The backend was closed; what was recorded before is stored, or counted as lost.")
        kind = kind_of(record)
        payload = encode(kind, record, system_id=self._system_id, now=self._clock())
        await ahead.add(self._lane(kind, record).join(payload), payload)

    async def close(self) -> None:
        """Store what is under way; what the server does not take in time goes to the spool, or is counted as lost."""
        self._is_closing = True
        try:
            with anyio.move_on_after(self._policy.close_timeout):
                await self.flush()
                for outlet in self._outlets:
                    await outlet.finish_replay()
        finally:
            with anyio.CancelScope(shield=True):
                await self._give_up()

    async def flush(self) -> None:
        """Wait until nothing that was recorded before is under way."""
        for lane in self._lanes:
            await lane.flush()

    async def _give_up(self) -> None:
        for outlet in self._outlets:
            outlet.close()
        for outlet in self._outlets:
            await outlet.cancel_replay()
        if self._spooling:
            self._spooling.expect_end()
        await self.flush()
        if self._spooling:
            await self._spooling.aclose()


async def _each(records: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[object, None]:
    if isinstance(records, AsyncIterable):
        async for record in records:
            yield record
        return
    for record in records:
        yield record
