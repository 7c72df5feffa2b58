"""A process of its own that runs a living actor system: ``python -m papyra_streams_contract.faults.actor_process``.

It notes each event that the backend returned for, and ends in order at SIGTERM.
"""

import ctypes
import json
import logging
import os
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence, WritePolicy

from .living import LivingSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the process is to do.

    ``first`` -- the number of its first record
    ``largest_file`` -- bytes that a file may grow to: what is more, the system refuses as it does on a full disk
    ``keeps_to_rights`` -- whether the rights of files bind it though it runs as root
    """

    url: str
    driver: str
    spool_dir: str
    directory: str
    first: int
    largest_file: int | None = None
    keeps_to_rights: bool = False
    spool_bytes: int = 1024**3

    @property
    def notes(self) -> Path:
        """The file with the numbers of the events that the backend returned for."""
        return Path(self.directory) / "notes"

    @property
    def summary(self) -> Path:
        """The file that is written when it has ended."""
        return Path(self.directory) / "summary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the process saw of itself."""

    dead_letters: int
    cancelled: int
    dropped: int
    write_errors: int
    spooled: int
    spool_errors: int
    answers: int
    slowest_answer: float
    closing_seconds: float


def main() -> None:
    """Carry out the orders, given as JSON."""
    logging.basicConfig(level=logging.WARNING)
    anyio.run(_live, Orders(**json.loads(sys.argv[1])))


async def _live(orders: Orders) -> None:
    policy = WritePolicy(spool_dir=orders.spool_dir, spool_bytes=orders.spool_bytes, queue_seconds=1.0)
    config = RedisStreamsConfig(
        url=orders.url, driver=orders.driver, write_policy=policy, connect_timeout=1.0, command_timeout=1.5
    )
    notes = os.open(orders.notes, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    _give_up_rights(orders)
    run = LivingSystem(
        RedisStreamsPersistence(config), first=orders.first, on_return=lambda number: os.write(notes, b"%d\n" % number)
    )
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with run.at_work():
            async for _ in signals:
                break
    orders.summary.write_text(json.dumps(asdict(_summary(run))))


def _give_up_rights(orders: Orders) -> None:
    if orders.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (orders.largest_file, resource.RLIM_INFINITY))
    if orders.keeps_to_rights and sys.platform == "linux":
        _give_up_capabilities()


def _give_up_capabilities() -> None:
    # See capset(2), version 3: two words each of effective, permitted and inheritable capabilities.
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0, os.strerror(ctypes.get_errno())


def _summary(run: LivingSystem) -> Summary:
    metrics = run.backend.metrics
    return Summary(
        dead_letters=run.dead_letters.asked,
        cancelled=run.cancelled,
        dropped=metrics.records_dropped,
        write_errors=metrics.write_errors,
        spooled=metrics.records_spooled,
        spool_errors=metrics.spool_errors,
        answers=run.answers,
        slowest_answer=run.slowest_answer,
        closing_seconds=run.closing_seconds,
    )


if __name__ == "__main__":
    main()
