"""How fast a stream is gone through: by our full scan, which decodes every entry, and by the bare client libraries."""

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from benchmarks import bars
from benchmarks.contenders import STREAM
from benchmarks.rounds import Found
from benchmarks.servers import RunningServer

from .backends import connected
from .shelf import ENTRIES, EntriesWrong

PAGE = 1000

Read = Callable[[str], Awaitable[Sequence[Any]]]
"""Reads a page that begins with an id."""


async def ours(server: RunningServer, driver: str) -> Found:
    """Scan everything.

    ``rate`` -- entries a second
    """
    async with connected(server, driver) as backend:
        begun = time.perf_counter()
        report = await backend.scan(full=True)
        taken = time.perf_counter() - begun
    _check(report.examined)
    return {driver: {"rate": ENTRIES / taken}}


async def bare(server: RunningServer, driver: str) -> Found:
    """Read everything with a driver's client library alone, which decodes nothing; otherwise like `ours`."""
    return {bars.bare(driver): {"rate": ENTRIES / await _BARE[driver](server.url)}}


async def _redis(url: str) -> float:
    from redis.asyncio import Redis

    return await _of_the_family(Redis, url)


async def _valkey(url: str) -> float:
    from valkey.asyncio import Valkey

    return await _of_the_family(Valkey, url)


async def _of_the_family(library: Any, url: str) -> float:
    # The older protocol, as in the loops that read for a group.
    async with aclosing(library.from_url(url, protocol=2)) as client:

        async def read(start: str) -> Sequence[Any]:
            found: Sequence[Any] = await client.xrange(STREAM, min=start, count=PAGE)
            return found

        return await _timed(read, lambda entry: entry[0])


async def _coredis(url: str) -> float:
    import coredis

    client: Any = coredis.Redis.from_url(url)
    async with client:

        async def read(start: str) -> Sequence[Any]:
            found: Sequence[Any] = await client.xrange(STREAM, start=start, end="+", count=PAGE)
            return found

        return await _timed(read, lambda entry: entry.identifier)


_BARE: dict[str, Callable[[str], Awaitable[float]]] = {"redis": _redis, "valkey": _valkey, "coredis": _coredis}


async def _timed(read: Read, entry_id: Callable[[Any], bytes]) -> float:
    await read("+")
    gc.collect()
    begun = time.perf_counter()
    page, count = await read("-"), 0
    while page:
        count += len(page)
        page = await read(f"({entry_id(page[-1]).decode()}")
    taken = time.perf_counter() - begun
    _check(count)
    return taken


def _check(examined: int) -> None:
    if examined != ENTRIES:
        raise EntriesWrong(f"{examined} entries were read, not {ENTRIES}.")
