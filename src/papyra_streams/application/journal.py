"""Writing: every record gets to its stream once, in the order of the calls, or is counted as lost.

A failure of the server never reaches the caller.
"""

from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing, suppress
from functools import partial

import anyio

from papyra_streams.domain.encoding import encode
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import kind_of
from papyra_streams.domain.writing import WritePolicy
from papyra_streams.errors import Closed, StreamsError, UnsupportedOperation
from papyra_streams.ports import SpoolPort, StreamStore

from .batches import Batch
from .clock import Clock
from .lanes import Lane
from .metrics import WriteMeter
from .outlets import Outlet
from .sending import Sender
from .spooling import Spooling

# While one batch is on its way the next is being encoded, and no more: memory stays bounded.
_BATCHES_AHEAD = 2


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
        self._system_id = keys.system_id
        self._policy = policy
        self._clock = clock
        self._spooling = Spooling(spool, meter) if spool else None
        self._is_closing = False
        self._outlets: list[Outlet] = []
        self._lanes: dict[Kind, Lane] = {}
        for kind in KINDS:
            mark_of = partial(keys.producer_mark, Partition(kind))
            sender = Sender(store, keys.stream(Partition(kind)), mark_of, policy, meter)
            outlet = Outlet(sender, policy, meter, self._spooling)
            self._outlets.append(outlet)
            self._lanes[kind] = Lane(outlet, policy, meter, self._lanes.values())

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
        for outlet in self._outlets:
            await outlet.open()

    async def _can_tell_of_syncs(self) -> bool:
        patience = self._policy.patience(has_spool=self._spooling is not None)
        # A server that cannot be asked now is not to keep an actor system from starting.
        with anyio.move_on_after(patience), suppress(StreamsError):
            return (await self._store.capabilities()).fsync
        return True

    async def record(self, kind: Kind, record: object) -> None:
        """Store a record; return when the server has it, or the spool, or when it is counted as lost."""
        payload = encode(kind, record, system_id=self._system_id, now=self._clock())
        await self._lanes[kind].write(payload)

    async def record_many(self, records: Iterable[object] | AsyncIterable[object]) -> int:
        """Store records as `record` does, and return how many there were; a few batches at a time are in memory.

        :raises UnknownKind: at a record that does not say its kind, once those before it are stored
        :raises Closed: at the first record after `close` was called, likewise
        """
        count = 0
        under_way: dict[Kind, deque[Batch]] = defaultdict(deque)
        try:
            async with aclosing(_each(records)) as all_records:
                async for record in all_records:
                    await self._add(record, under_way)
                    count += 1
        finally:
            for batches in under_way.values():
                for batch in batches:
                    await batch.wait()
        return count

    async def _add(self, record: object, under_way: dict[Kind, deque[Batch]]) -> None:
        if self._is_closing:
            raise Closed("The backend was closed; what was recorded before is stored, or counted as lost.")
        kind = kind_of(record)
        batch = self._lanes[kind].join(encode(kind, record, system_id=self._system_id, now=self._clock()))
        batches = under_way[kind]
        if not batches or batches[-1] is not batch:
            batches.append(batch)
            if len(batches) > _BATCHES_AHEAD:
                await batches.popleft().wait()

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
        for lane in self._lanes.values():
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
