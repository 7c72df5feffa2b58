"""What the tests of the spool share."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from papyra_streams.ports.spool import SpooledPage, SpoolPort
from papyra_streams_adapters.spool._spool import SqliteSpool

LARGE = 1024**3


def numbered(count: int, *, first: int = 0) -> list[bytes]:
    return [b"record %d" % number for number in range(first, first + count)]


async def take(spool: SpoolPort, stream: str = "s", *, records: int = 1000, size: int = 2**30) -> SpooledPage:
    """Return the oldest records, which are there."""
    page = await spool.oldest(stream, records=records, size=size)
    assert page is not None
    return page


def batches_of(page: SpooledPage) -> list[tuple[str, int, list[bytes]]]:
    """Return each batch as its producer, its first number and its records."""
    return [(batch.producer, batch.first, list(batch.payloads)) for batch in page.batches]


def payloads_of(page: SpooledPage) -> list[bytes]:
    return [payload for batch in page.batches for payload in batch.payloads]


async def take_all(spool: SpoolPort, stream: str = "s") -> list[bytes]:
    """Empty a stream, and return what was in it."""
    taken: list[bytes] = []
    while (page := await spool.oldest(stream, records=1000, size=2**30)) is not None:
        taken += payloads_of(page)
        await spool.remove(stream, up_to=page.last_position)
    return taken


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        await anyio.sleep(0.001)


def held(path: Path) -> sqlite3.Connection:
    """Keep a file from being written, as another process may."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    return holder


def at_work(spool: SpoolPort) -> bool:
    assert isinstance(spool, SqliteSpool)
    return spool._one_thread.locked()
