"""The bytes of what lies beside the records: what a group has not acknowledged, and the keys of a stream."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

import anyio
from papyra.persistence.models import PersistedEvent

from benchmarks.contenders import STREAM, ours
from benchmarks.rounds import Found, Quantities
from benchmarks.servers import RunningServer
from papyra_streams import Delivery, RedisConsumerGroupConfig, RedisStreamsPersistence, SubscriptionConfig
from papyra_streams_contract.wire import Wire

from .records import GROWTH, USAGE, fill, usage, used_memory

_GROUP, _CONSUMER = "workers", "worker-1"
_AT_ONCE = 1000
_COPIES = 10_000
_COPY = "for number = 1, ARGV[1] do redis.call('COPY', KEYS[1], KEYS[1] .. ':' .. number) end"
_NAMES = {b":producer:": "a producer's mark", b":state:": "a group's state", b":leader:": "a group's leader"}


async def measure_pending(server: RunningServer, driver: str, events: Sequence[PersistedEvent], count: int) -> Found:
    """Hand so many entries to a consumer that acknowledges none of them."""
    server.empty()
    await fill(server, driver, events, count)
    async with aclosing(Wire(server.endpoint)) as wire:
        memory, used = await used_memory(server, wire), await usage(wire, STREAM)
        async with aclosing(ours(driver)(server.url)) as backend:
            group = RedisConsumerGroupConfig(group=_GROUP, consumer=_CONSUMER, count=_AT_ONCE)
            for _ in range(count // _AT_ONCE):
                await backend.consume(kind="events", cfg=group)
        pending, *_ = await wire.rows("XPENDING", STREAM, _GROUP)
        assert pending == count  # noqa: S101 -- every read is full
        grown = {GROWTH: await used_memory(server, wire) - memory, USAGE: await usage(wire, STREAM) - used}
    return {f"entry pending in a group, of {count:,}": {name: size / count for name, size in grown.items()}}


async def measure_keys(server: RunningServer, driver: str, events: Sequence[PersistedEvent]) -> Found:
    """Let a worker handle some events in their order, and look at each key that this makes."""
    server.empty()
    await fill(server, driver, events, len(events))
    async with (
        aclosing(ours(driver)(server.url)) as backend,
        aclosing(Wire(server.endpoint)) as wire,
        _working(backend),
    ):
        return {
            name: await _of_key(server, wire, key)
            for key in sorted(await wire.keys("*"))
            for part, name in _NAMES.items()
            if part in key
        }


@asynccontextmanager
async def _working(backend: RedisStreamsPersistence) -> AsyncIterator[None]:
    """Have a worker that is handling an event."""
    begun, stop = anyio.Event(), anyio.Event()

    async def handle(_: Delivery) -> None:
        begun.set()
        await stop.wait()

    cfg = SubscriptionConfig(group=_GROUP, consumer=_CONSUMER, ordering="actor")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(backend.process, kind="events", cfg=cfg, handler=handle, stop=stop))
        await begun.wait()
        yield
        stop.set()


async def _of_key(server: RunningServer, wire: Wire, key: bytes) -> Quantities:
    memory = await used_memory(server, wire)
    await wire("EVAL", _COPY, 1, key, _COPIES)
    grown = await used_memory(server, wire) - memory
    copies = [b"%s:%d" % (key, number) for number in range(1, _COPIES + 1)]
    await wire("DEL", *copies)
    return {GROWTH: grown / _COPIES, USAGE: await usage(wire, key)}
