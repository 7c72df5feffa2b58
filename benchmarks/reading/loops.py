"""Those who handle a group's entries: a worker of ours, Papyra's own backend, and the bare client libraries."""

import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import anyio
from papyra.persistence.backends import redis as papyra_redis

from benchmarks import contenders
from benchmarks.contenders import STREAM, ours
from papyra_streams import Delivery, SubscriptionConfig

BATCH = 500
_CONSUMER = "bench"
_BLOCK_MS = 1000
_GLANCE = 0.0005

Loop = Callable[[str, str, int], Awaitable[float]]
"""Handles so many entries of a group on the server at a URL; returns how many seconds that took."""

Bare = Callable[[str, str], Awaitable[Sequence[object]]]
"""Reads some entries for a group, acknowledges them, and returns their ids."""


class EntriesMissing(Exception):
    """There are fewer entries than were to be handled."""


class _Count:
    """Handles deliveries by counting them."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.all_handled = anyio.Event()

    async def one(self, _: Delivery) -> None:
        self._take(1)

    async def several(self, deliveries: Sequence[Delivery]) -> None:
        self._take(len(deliveries))

    def _take(self, number: int) -> None:
        self._left -= number
        if self._left <= 0:
            self.all_handled.set()


def in_batches(driver: str) -> Loop:
    """Return the worker that is given lists of deliveries, its other settings as they are by default."""
    return lambda url, group, count: _process(driver, url, count, SubscriptionConfig(group=group, batch_size=BATCH))


def singly(driver: str) -> Loop:
    """Return the worker that is given a delivery at a time, as many at once as the others read."""
    return lambda url, group, count: _process(driver, url, count, SubscriptionConfig(group=group, concurrency=BATCH))


async def _process(driver: str, url: str, count: int, cfg: SubscriptionConfig) -> float:
    counted = _Count(count)
    handler = counted.one if cfg.batch_size is None else counted.several
    async with aclosing(ours(driver)(url)) as backend:
        # Connecting takes as long for few entries as for many.
        await backend.list_events(limit=1)
        gc.collect()
        stop = anyio.Event()
        work = partial(backend.process, kind="events", cfg=cfg, handler=handler, stop=stop)
        async with anyio.create_task_group() as working:
            begun = time.perf_counter()
            working.start_soon(work)
            await counted.all_handled.wait()
            while backend.metrics.entries_acknowledged < count:  # noqa: ASYNC110 -- a counter tells nobody that it changes
                await anyio.sleep(_GLANCE)
            # Not when the worker has ended: it waits for more, which the others' loops do not.
            taken = time.perf_counter() - begun
            stop.set()
    return taken


async def papyra(url: str, group: str, count: int) -> float:
    """Consume and acknowledge with Papyra's own backend, as its users have to."""
    cfg = papyra_redis.RedisConsumerGroupConfig(group, _CONSUMER, count=BATCH, block_ms=_BLOCK_MS)
    async with aclosing(cast("papyra_redis.RedisStreamsPersistence", contenders.papyra(url))) as backend:

        async def turn(*_: str) -> Sequence[object]:
            ids = [item.id for item in await backend.consume(kind="events", cfg=cfg)]
            await backend.ack(kind="events", group=group, ids=ids)
            return ids

        await backend.list_events(limit=1)
        return await _timed(turn, group, count)


async def bare_redis(url: str, group: str, count: int) -> float:
    """Read and acknowledge with redis-py, and decode nothing."""
    from redis.asyncio import Redis

    return await _of_the_family(Redis, url, group, count)


async def bare_valkey(url: str, group: str, count: int) -> float:
    """Read and acknowledge with valkey-py, and decode nothing."""
    from valkey.asyncio import Valkey

    return await _of_the_family(Valkey, url, group, count)


async def _of_the_family(library: Any, url: str, group: str, count: int) -> float:
    # In the older protocol both clients answer with a list.
    async with aclosing(library.from_url(url, protocol=2)) as client:

        async def turn(stream: str, group: str) -> Sequence[object]:
            found = await client.xreadgroup(group, _CONSUMER, {stream: ">"}, count=BATCH, block=_BLOCK_MS)
            ids = [entry_id for _, entries in found for entry_id, _ in entries]
            await client.xack(stream, group, *ids)
            return ids

        await client.xgroup_create(STREAM, group, id="0")
        return await _timed(turn, group, count)


async def bare_coredis(url: str, group: str, count: int) -> float:
    """Read and acknowledge with coredis, and decode nothing."""
    import coredis

    client: Any = coredis.Redis.from_url(url)
    async with client:

        async def turn(stream: str, group: str) -> Sequence[object]:
            found = await client.xreadgroup(group, _CONSUMER, {stream: ">"}, count=BATCH, block=_BLOCK_MS)
            ids = [entry.identifier for entries in (found or {}).values() for entry in entries]
            await client.xack(stream, group, ids)
            return ids

        await client.xgroup_create(STREAM, group, "0")
        return await _timed(turn, group, count)


BARE: dict[str, Loop] = {"redis": bare_redis, "valkey": bare_valkey, "coredis": bare_coredis}
"""The client libraries of our drivers, by the driver's name."""


async def _timed(turn: Bare, group: str, count: int) -> float:
    gc.collect()
    begun = time.perf_counter()
    left = count
    while left > 0:
        ids = await turn(STREAM, group)
        if not ids:
            raise EntriesMissing(f"{left} of {count} entries were not given out.")
        left -= len(ids)
    return time.perf_counter() - begun
