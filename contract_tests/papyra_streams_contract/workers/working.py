"""A worker: handles what its group gives it, and notes when it begins and when it is done."""

import gc
import logging
import os
import resource
import signal
import sys
import time
from typing import Literal

import anyio
import msgspec

from papyra_streams import Delivery, RedisStreamsPersistence

from .orders import MemorySample, Orders, Summary

_SECONDS_TO_LIVE = 0.5
_KILOBYTE = 1 if sys.platform == "darwin" else 1024


def work(orders: Orders) -> None:
    """Carry out the orders until SIGTERM."""
    logging.basicConfig(level=logging.INFO)
    anyio.run(Worker(orders).run)


class Worker:
    """One worker of a group."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._backend = RedisStreamsPersistence(orders.config)
        self._ledger = os.open(orders.ledger, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self._handled = 0
        self._memory: list[MemorySample] = []

    async def run(self) -> None:
        """Work, and write the summary."""
        error = ""
        try:
            await self._backend.process(kind="events", cfg=self._orders.subscription, handler=self._handle)
        except Exception as raised:
            error = type(raised).__name__
            raise
        finally:
            await self._backend.aclose()
            self._orders.summary.write_bytes(msgspec.json.encode(self._summary(error)))

    async def _handle(self, delivery: Delivery) -> None:
        self._note(delivery, "begun")
        try:
            if self._orders.fatal_number == delivery.data["payload"]["number"]:
                await self._die()
            if self._orders.handling_seconds:
                await anyio.sleep(self._orders.handling_seconds)
        except BaseException:
            self._note(delivery, "cancelled")
            raise
        self._note(delivery, "done")
        self._handled += 1
        if self._handled % self._orders.samples_memory_every == 0:
            self._sample_memory()

    async def _die(self) -> None:
        # Others of the same process get on meanwhile: what each kill hits is not the same.
        await anyio.sleep(_SECONDS_TO_LIVE)
        os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, delivery: Delivery, what: Literal["begun", "done", "cancelled"]) -> None:
        if not self._orders.keeps_ledger:
            return
        actor = delivery.data["actor_address"]
        # One write for each line, so that a kill leaves whole lines.
        line = f"{delivery.id} {delivery.attempt} {actor} {what} {time.monotonic_ns()}\n"
        os.write(self._ledger, line.encode())

    def _sample_memory(self) -> None:
        gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE
        self._memory.append(MemorySample(handled=self._handled, blocks=sys.getallocatedblocks(), peak_bytes=peak))

    def _summary(self, error: str) -> Summary:
        metrics = self._backend.metrics
        return Summary(
            error=error,
            acknowledged=metrics.entries_acknowledged,
            redelivered=metrics.entries_redelivered,
            leases_lost=metrics.leases_lost,
            groups_restored=metrics.groups_restored,
            memory=tuple(self._memory),
        )
