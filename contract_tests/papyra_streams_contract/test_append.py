"""Writing: order, atomicity, and that records sent again are known."""

import asyncio

import pytest

from papyra_streams.ports import StreamStore, Timeouts

from .arranging import eventually, fields_of, mark, payloads, stored
from .fixtures import MakePrivateServer, OpenStore
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

EVERY_BYTE = bytes(range(256))


async def test_append_returns_how_many_entries_it_appended(store: StreamStore, stream: str) -> None:
    assert (await store.append(stream, [b"a", b"b", b"c"], mark=mark(stream, 1))).count == 3


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

    assert (await store.append(stream, [b"a", b"b"], mark=mark(stream, 1))).count == 0
    assert await stored(wire, stream) == before


async def test_a_batch_sent_again_after_its_successor_appends_nothing(store: StreamStore, stream: str) -> None:
    await store.append(stream, [b"a"], mark=mark(stream, 1))
    await store.append(stream, [b"b"], mark=mark(stream, 2))

    assert (await store.append(stream, [b"a"], mark=mark(stream, 1))).count == 0
    assert await store.length(stream) == 2


async def test_the_next_number_is_a_new_record(store: StreamStore, stream: str) -> None:
    for number in range(8, 12):
        assert (await store.append(stream, [b"same"], mark=mark(stream, number))).count == 1


async def test_records_divided_differently_are_appended_once(store: StreamStore, stream: str) -> None:
    texts = [b"%d" % number for number in range(1, 16)]
    await store.append(stream, texts[:10], mark=mark(stream, 1))

    assert (await store.append(stream, texts[5:], mark=mark(stream, 6))).count == 5
    assert payloads(await store.newest(stream, count=100)) == texts[::-1]


@pytest.mark.parametrize(("first", "count", "appended"), [(1, 5, 0), (6, 5, 0), (1, 10, 0), (1, 11, 1), (11, 4, 4)])
async def test_only_the_records_after_the_last_one_are_new(
    store: StreamStore, stream: str, first: int, count: int, appended: int
) -> None:
    await store.append(stream, [b"old"] * 10, mark=mark(stream, 1))

    assert (await store.append(stream, [b"new"] * count, mark=mark(stream, first))).count == appended
    assert await store.length(stream) == 10 + appended


async def test_an_older_batch_does_not_turn_the_mark_back(store: StreamStore, stream: str) -> None:
    await store.append(stream, [b"a"] * 10, mark=mark(stream, 1))
    await store.append(stream, [b"a"] * 3, mark=mark(stream, 1))

    assert (await store.append(stream, [b"a"] * 10, mark=mark(stream, 1))).count == 0


async def test_numbers_may_be_left_out(store: StreamStore, stream: str) -> None:
    await store.append(stream, [b"a"], mark=mark(stream, 1))

    assert (await store.append(stream, [b"b"] * 3, mark=mark(stream, 100))).count == 3
    assert (await store.append(stream, [b"c"], mark=mark(stream, 50))).count == 0
    assert (await store.append(stream, [b"d"] * 2, mark=mark(stream, 102))).count == 1


@pytest.mark.parametrize("first", [10**15, 2**53 - 4])
async def test_a_number_may_be_large(store: StreamStore, stream: str, wire: Wire, first: int) -> None:
    await store.append(stream, [b"a"] * 3, mark=mark(stream, first))

    assert await wire("GET", mark(stream, 1).key) == b"%d" % (first + 2)
    assert (await store.append(stream, [b"a"] * 4, mark=mark(stream, first))).count == 1
    assert (await store.append(stream, [b"a"] * 4, mark=mark(stream, first))).count == 0


async def test_marks_of_two_producers_are_independent(store: StreamStore, stream: str) -> None:
    assert (await store.append(stream, [b"a"], mark=mark(stream, 5, producer="one"))).count == 1
    assert (await store.append(stream, [b"b"], mark=mark(stream, 1, producer="two"))).count == 1
    assert (await store.append(stream, [b"a"], mark=mark(stream, 5, producer="one"))).count == 0


async def test_a_mark_expires_after_its_lifetime_without_a_batch(store: StreamStore, stream: str, wire: Wire) -> None:
    made = mark(stream, 1)
    await store.append(stream, [b"a"], mark=made)

    assert 0 < await wire.number("PTTL", made.key) <= made.lifetime * 1000


@pytest.mark.parametrize("first", [1, 2], ids=["known", "new"])
async def test_each_batch_renews_its_producers_mark(store: StreamStore, stream: str, wire: Wire, first: int) -> None:
    await store.append(stream, [b"a"], mark=mark(stream, 1))
    await wire("EXPIRE", mark(stream, 1).key, 5)
    await store.append(stream, [b"a"], mark=mark(stream, first))

    assert await wire.number("TTL", mark(stream, 1).key) > 5


async def test_a_batch_that_adds_nothing_leaves_the_mark_as_it_is(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"a"] * 10, mark=mark(stream, 1))
    await store.append(stream, [b"a"] * 2, mark=mark(stream, 3))

    assert await wire("GET", mark(stream, 1).key) == b"10"


async def test_nobody_sees_part_of_a_batch(store: StreamStore, stream: str, wire: Wire) -> None:
    async def write() -> None:
        for first in range(1, 10_001, 500):
            await store.append(stream, [b"x" * 100] * 500, mark=mark(stream, first))

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
    done = await asyncio.gather(*(store.append(stream, [b"a"] * 10, mark=mark(stream, 1)) for _ in range(10)))

    assert sorted(each.count for each in done) == [0] * 9 + [10]
    assert await store.length(stream) == 10


async def test_a_batch_may_be_large(store: StreamStore, stream: str) -> None:
    assert (await store.append(stream, [b"x"] * 20_000, mark=mark(stream, 1))).count == 20_000
    assert await store.length(stream) == 20_000


async def test_a_key_need_not_be_ascii(store: StreamStore, namespace: str, wire: Wire) -> None:
    stream = f"{namespace}:größe \N{SNOWMAN}"
    await store.append(stream, [b"a"], mark=mark(stream, 1))

    assert await wire.number("XLEN", stream.encode()) == 1


@pytest.mark.topologies("standalone", reason="the node of a cluster is taken for a single server")
async def test_stream_and_mark_go_together_in_a_cluster(
    make_private_server: MakePrivateServer, open_store: OpenStore
) -> None:
    member = make_private_server(settings={"cluster-enabled": "yes"})
    wire = Wire(member.endpoint)
    await wire("CLUSTER", "ADDSLOTS", *range(16384))

    async def serves() -> bool:
        return b"cluster_state:ok" in await wire.text("CLUSTER", "INFO")

    await eventually(serves)
    await wire.aclose()
    store = open_store(member.target, Timeouts())
    assert (await store.append("stream", [b"a", b"b"], mark=mark("stream", 1))).count == 2
    assert (await store.append("stream", [b"b", b"c"], mark=mark("stream", 2))).count == 1
