"""Writing: order, atomicity, and that a repeated batch is known."""

import asyncio

import pytest

from papyra_streams.ports import StreamStore

from .arranging import fields_of, mark, payloads, stored
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

EVERY_BYTE = bytes(range(256))


async def test_append_returns_how_many_entries_it_appended(store: StreamStore, stream: str) -> None:
    assert await store.append(stream, [b"a", b"b", b"c"], mark=mark(stream, 1)) == 3


async def test_entries_stand_in_the_order_of_their_payloads(store: StreamStore, stream: str) -> None:
    texts = [b"%d" % number for number in range(300)]
    await store.append(stream, texts, mark=mark(stream, 1))

    assert payloads(await store.newest(stream, count=300)) == texts[::-1]


async def test_an_entry_has_the_one_field_data(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"payload"], mark=mark(stream, 1))

    assert await fields_of(wire, stream) == [[b"data", b"payload"]]


@pytest.mark.parametrize(
    "payload", [b"", b"\r\n$-1\r\n", EVERY_BYTE, EVERY_BYTE * 4096], ids=["none", "crlf", "any", "1 MiB"]
)
async def test_a_payload_comes_back_byte_for_byte(store: StreamStore, stream: str, payload: bytes) -> None:
    await store.append(stream, [payload], mark=mark(stream, 1))

    assert payloads(await store.newest(stream, count=1)) == [payload]


async def test_a_batch_sent_again_appends_nothing(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"a", b"b"], mark=mark(stream, 1))
    before = await stored(wire, stream)

    assert await store.append(stream, [b"a", b"b"], mark=mark(stream, 1)) == 0
    assert await stored(wire, stream) == before


async def test_a_batch_sent_again_after_its_successor_appends_nothing(store: StreamStore, stream: str) -> None:
    await store.append(stream, [b"a"], mark=mark(stream, 1))
    await store.append(stream, [b"b"], mark=mark(stream, 2))

    assert await store.append(stream, [b"a"], mark=mark(stream, 1)) == 0
    assert await store.length(stream) == 2


async def test_the_next_sequence_is_a_new_batch(store: StreamStore, stream: str) -> None:
    for sequence in range(8, 12):
        assert await store.append(stream, [b"same"], mark=mark(stream, sequence)) == 1


async def test_marks_of_two_producers_are_independent(store: StreamStore, stream: str) -> None:
    assert await store.append(stream, [b"a"], mark=mark(stream, 5, producer="one")) == 1
    assert await store.append(stream, [b"b"], mark=mark(stream, 1, producer="two")) == 1
    assert await store.append(stream, [b"a"], mark=mark(stream, 5, producer="one")) == 0


async def test_a_mark_expires_after_its_lifetime_without_a_batch(store: StreamStore, stream: str, wire: Wire) -> None:
    made = mark(stream, 1)
    await store.append(stream, [b"a"], mark=made)

    assert 0 < await wire.number("PTTL", made.key) <= made.lifetime * 1000


async def test_each_batch_renews_its_producers_mark(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"a"], mark=mark(stream, 1))
    await wire("EXPIRE", mark(stream, 1).key, 5)
    await store.append(stream, [b"b"], mark=mark(stream, 2))

    assert await wire.number("TTL", mark(stream, 1).key) > 5


async def test_nobody_sees_part_of_a_batch(store: StreamStore, stream: str, wire: Wire) -> None:
    async def write() -> None:
        for sequence in range(1, 21):
            await store.append(stream, [b"x" * 100] * 500, mark=mark(stream, sequence))

    lengths = set()
    writing = asyncio.create_task(write())
    while not writing.done():
        lengths.add(await wire.number("XLEN", stream))
    await writing

    assert [length for length in lengths if length % 500] == []


async def test_batches_of_concurrent_producers_do_not_mix(store: StreamStore, stream: str) -> None:
    producers = [f"{number}" for number in range(20)]
    await asyncio.gather(
        *(store.append(stream, [each.encode()] * 50, mark=mark(stream, 1, producer=each)) for each in producers)
    )

    found = payloads(await store.newest(stream, count=2000))
    batches = {tuple(found[start : start + 50]) for start in range(0, 1000, 50)}
    assert batches == {(each.encode(),) * 50 for each in producers}


async def test_a_batch_sent_twice_at_once_is_appended_once(store: StreamStore, stream: str) -> None:
    counts = await asyncio.gather(*(store.append(stream, [b"a"] * 10, mark=mark(stream, 1)) for _ in range(10)))

    assert sorted(counts) == [0] * 9 + [10]
    assert await store.length(stream) == 10


async def test_a_batch_may_be_large(store: StreamStore, stream: str) -> None:
    assert await store.append(stream, [b"x"] * 20_000, mark=mark(stream, 1)) == 20_000
    assert await store.length(stream) == 20_000


async def test_a_key_need_not_be_ascii(store: StreamStore, namespace: str, wire: Wire) -> None:
    await store.append(f"{namespace}:größe \N{SNOWMAN}", [b"a"], mark=mark(namespace, 1))

    assert await wire.number("XLEN", f"{namespace}:größe \N{SNOWMAN}".encode()) == 1
