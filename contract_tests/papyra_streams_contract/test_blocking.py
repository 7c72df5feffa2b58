"""Reads that the server holds back until there is an entry."""

import asyncio
import random
import time

import pytest

from papyra_streams.domain.entries import Entry
from papyra_streams.ports import StreamStore

from .arranging import mark, payloads
from .fixtures import IMPATIENT, OpenStore
from .servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_a_held_read_returns_the_entry_that_comes(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="$")
    reading = asyncio.create_task(store.read_group(stream, "workers", "me", count=10, block_ms=20_000))
    await asyncio.sleep(0.05)
    await store.append(stream, [b"a", b"b"], mark=mark(stream, 1))

    async with asyncio.timeout(2):
        assert payloads(await reading) == [b"a", b"b"]


async def test_a_held_read_returns_at_once_what_is_there(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")
    await store.append(stream, [b"a"], mark=mark(stream, 1))

    async with asyncio.timeout(2):
        assert payloads(await store.read_group(stream, "workers", "me", count=10, block_ms=20_000)) == [b"a"]


async def test_a_held_read_returns_nothing_when_its_time_is_up(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")
    began = time.monotonic()

    assert await store.read_group(stream, "workers", "me", count=1, block_ms=300) == []
    assert 0.28 <= time.monotonic() - began < 1.5


async def test_a_read_held_for_no_time_returns_at_once(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")

    async with asyncio.timeout(2):
        assert await store.read_group(stream, "workers", "me", count=1, block_ms=0) == []


async def test_a_read_may_be_held_for_longer_than_the_command_timeout(
    open_store: OpenStore, server: Server, stream: str
) -> None:
    store = open_store(server.target, IMPATIENT)
    await store.create_group(stream, "workers", start="0")
    reading = asyncio.create_task(store.read_group(stream, "workers", "me", count=1, block_ms=20_000))
    await asyncio.sleep(3 * IMPATIENT.command)
    await store.append(stream, [b"late"], mark=mark(stream, 1))

    async with asyncio.timeout(2):
        assert payloads(await reading) == [b"late"]


async def test_a_held_read_does_not_hold_up_other_calls(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")
    async with asyncio.TaskGroup() as tasks:
        readings = [
            tasks.create_task(store.read_group(stream, "workers", f"{number}", count=1, block_ms=20_000))
            for number in range(20)
        ]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await asyncio.gather(*(store.length(stream) for _ in range(100)))
        assert [reading.done() for reading in readings] == [False] * 20
        for reading in readings:
            reading.cancel()


async def test_held_reads_share_out_each_entry_once(store: StreamStore, stream: str) -> None:
    texts = [b"%d" % number for number in range(200)]
    await store.create_group(stream, "workers", start="0")

    async def consume(consumer: str) -> list[Entry]:
        found: list[Entry] = []
        while some := await store.read_group(stream, "workers", consumer, count=3, block_ms=500):
            found += some
        return found

    async with asyncio.TaskGroup() as tasks:
        consumers = [tasks.create_task(consume(f"{number}")) for number in range(20)]
        for sequence, text in enumerate(texts, start=1):
            await store.append(stream, [text], mark=mark(stream, sequence))
    given = [payload for consumer in consumers for payload in payloads(consumer.result())]
    assert sorted(given) == sorted(texts)


@pytest.mark.parametrize("block_ms", [None, 1000])
async def test_a_cancelled_read_loses_nothing(store: StreamStore, stream: str, block_ms: int | None) -> None:
    moments = random.Random(block_ms)
    await store.create_group(stream, "workers", start="0")

    found: list[bytes] = []
    for number in range(40):
        reading = asyncio.create_task(store.read_group(stream, "workers", "me", count=9, block_ms=block_ms))
        writing = asyncio.create_task(store.append(stream, [b"%d" % number], mark=mark(stream, number + 1)))
        await asyncio.sleep(moments.random() * 0.004)
        reading.cancel()
        await asyncio.wait([reading, writing])
        found += [] if reading.cancelled() else payloads(reading.result())
    while some := await store.read_group(stream, "workers", "me", count=9):
        found += payloads(some)

    assert found == [b"%d" % number for number in range(40)]


async def test_what_a_cancelled_read_was_given_goes_to_the_same_consumer_alone(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")
    reading = asyncio.create_task(store.read_group(stream, "workers", "me", count=9, block_ms=20_000))
    await asyncio.sleep(0.05)
    await store.append(stream, [b"a"], mark=mark(stream, 1))
    reading.cancel()
    await asyncio.wait([reading])
    given = [] if reading.cancelled() else reading.result()

    assert await store.read_group(stream, "workers", "you", count=9) == []
    assert payloads(given or await store.read_group(stream, "workers", "me", count=9)) == [b"a"]


async def test_cancelled_reads_use_nothing_up(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")
    for number in range(150):
        reading = asyncio.create_task(store.read_group(stream, "workers", f"{number % 5}", count=1, block_ms=50))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])

    async with asyncio.timeout(5):
        await store.append(stream, [b"a"], mark=mark(stream, 1))
        assert await store.length(stream) == 1
