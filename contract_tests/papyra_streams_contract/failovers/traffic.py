"""A process that records and reads events while servers fail: ``python -m papyra_streams_contract.failovers.traffic``.

It ends in order at SIGTERM, once its subscription was given all that is stored.
"""

import os
import signal
import sys
import time
from contextlib import suppress

import anyio
import msgspec
from papyra.persistence.models import PersistedEvent

from papyra_streams import RedisStreamsPersistence, SubscriptionConfig
from papyra_streams.errors import LeaseLost

from .orders import Orders, Recorded, Summary

_READER = SubscriptionConfig(group="readers", ordering="actor", claim_idle=2.0, max_deliveries=None)
_SECONDS_BETWEEN_NOTES = 0.02
_PATIENCE_SECONDS = 20.0


class Traffic:
    """Actors that record, and a subscription that reads."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._backend = RedisStreamsPersistence(orders.config)
        self._recorded: list[Recorded] = []
        self._received: list[tuple[str, int]] = []
        self._ended = False

    async def run(self) -> None:
        """Work until SIGTERM, and write the summary."""
        async with anyio.create_task_group() as reading:
            reading.start_soon(self._read)
            reading.start_soon(self._note_progress)
            await self._record_all()
            with anyio.move_on_after(_PATIENCE_SECONDS):
                await self._received_all()
            reading.cancel_scope.cancel()
        await self._backend.aclose()
        summary = Summary(recorded=self._recorded, received=self._received)
        self._orders.summary.write_bytes(msgspec.json.encode(summary))

    async def _record_all(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async with anyio.create_task_group() as writing:
                for writer in range(self._orders.writers):
                    writing.start_soon(self._record, f"local:{writer}")
                async for _ in signals:
                    self._ended = True
                    break

    async def _record(self, actor: str) -> None:
        number = 0
        while not self._ended:
            event = PersistedEvent(self._orders.system_id, actor, "Numbered", {"number": number}, time.time())
            begun, doubts = time.monotonic_ns(), self._doubts
            await self._backend.record_event(event)
            confirmed = self._doubts == doubts
            self._recorded.append(Recorded(actor, number, begun, time.monotonic_ns(), confirmed))
            number += 1
            await anyio.sleep(self._orders.pause)

    @property
    def _doubts(self) -> int:
        """How often something else has become of a record than what durability promises."""
        metrics = self._backend.metrics
        lost, spooled = metrics.write_errors, metrics.records_spooled
        return lost + spooled + metrics.fsync_shortfalls + metrics.replica_shortfalls

    async def _read(self) -> None:
        async with self._backend.subscription(kind="events", cfg=_READER) as subscription:
            async for delivery in subscription:
                self._received.append((delivery.data["actor_address"], delivery.data["payload"]["number"]))
                # The primary that is left may not have heard that the entry was given out.
                with suppress(LeaseLost):
                    await delivery.ack()

    async def _received_all(self) -> None:
        stored = {(event.actor_address, event.payload["number"]) for event in await self._backend.list_events()}
        while not stored.issubset(self._received):
            await anyio.sleep(0.05)

    async def _note_progress(self) -> None:
        notes = os.open(self._orders.progress, os.O_CREAT | os.O_WRONLY)
        while True:
            os.pwrite(notes, b"%10d" % len(self._recorded), 0)
            await anyio.sleep(_SECONDS_BETWEEN_NOTES)


if __name__ == "__main__":
    anyio.run(Traffic(msgspec.json.decode(sys.argv[1], type=Orders)).run)
