"""Reading a stream's history, newest first."""

import pytest

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.ports import StreamStore

from .arranging import fill, identifiers, mark
from .wire import Wire, WireError

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_newest_returns_the_newest_entries_first(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 10)

    assert identifiers(await store.newest(stream, count=3)) == ids[:-4:-1]


async def test_newest_returns_all_there_are_if_they_are_fewer(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)

    assert identifiers(await store.newest(stream, count=100)) == ids[::-1]


async def test_before_leaves_out_the_entry_it_names(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)

    assert identifiers(await store.newest(stream, count=2, before=ids[3])) == [ids[2], ids[1]]


async def test_before_may_name_an_entry_that_is_not_there(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 5)

    assert identifiers(await store.newest(stream, count=1, before=EntryId(3, 7))) == [EntryId(3, 0)]


async def test_nothing_is_older_than_the_oldest_entry(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 2)

    assert await store.newest(stream, count=10, before=ids[0]) == []


async def test_nothing_is_older_than_the_first_id_of_all(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 2)

    assert await store.newest(stream, count=10, before=EntryId(0, 0)) == []


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_pages_have_neither_gap_nor_overlap(store: StreamStore, stream: str, wire: Wire, size: int) -> None:
    ids = await fill(wire, stream, 23)

    found: list[Entry] = []
    for _ in range(0, 23, size):
        found += await store.newest(stream, count=size, before=found[-1].id if found else None)
    assert identifiers(found) == ids[::-1]


async def test_pages_tell_entries_of_one_millisecond_apart(store: StreamStore, stream: str) -> None:
    await store.append(stream, [b"x"] * 100, mark=mark(stream, 1))
    first = await store.newest(stream, count=50)
    second = await store.newest(stream, count=100, before=first[-1].id)

    found = identifiers(first + second)
    assert found == sorted(set(found), reverse=True)
    assert len(found) == 100


async def test_every_field_of_an_entry_is_returned_as_bytes(store: StreamStore, stream: str, wire: Wire) -> None:
    await wire("XADD", stream, "1-0", "data", b"\xff\x00", b"\xfename", "value", "", "")

    (entry,) = await store.newest(stream, count=1)
    assert entry.fields == {b"data": b"\xff\x00", b"\xfename": b"value", b"": b""}


async def test_ids_are_64_bit_integers(store: StreamStore, stream: str, wire: Wire) -> None:
    largest = EntryId(2**64 - 1, 2**64 - 1)
    await wire("XADD", stream, str(largest), "data", "last")

    assert identifiers(await store.newest(stream, count=1)) == [largest]


async def test_a_missing_stream_is_an_empty_one(store: StreamStore, stream: str) -> None:
    assert await store.newest(stream, count=10) == []
    assert await store.length(stream) == 0
    assert not await store.memory(stream)


async def test_reading_makes_no_stream(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.newest(stream, count=10)
    await store.length(stream)
    await store.memory(stream)

    assert await wire("EXISTS", stream) == 0


async def test_length_counts_the_entries_that_are_there(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    await wire("XDEL", stream, str(ids[2]))

    assert await store.length(stream) == 4


async def test_memory_is_what_the_server_says(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"x" * 1000] * 100, mark=mark(stream, 1))
    try:
        expected: int | None = await wire.number("MEMORY", "USAGE", stream)
    except WireError:
        expected = None

    assert await store.memory(stream) == expected


# -- from the oldest


async def test_the_oldest_entries_come_first_and_after_an_id(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)

    assert identifiers(await store.oldest(stream, count=2)) == ids[:2]
    assert identifiers(await store.oldest(stream, count=9, after=ids[2])) == ids[3:]
    assert await store.oldest(stream, count=1, after=EntryId(2**64 - 1, 2**64 - 1)) == []


async def test_older_entries_are_counted_in_any_number(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"x"] * 5001, mark=mark(stream, 1))
    (newest,) = await store.newest(stream, count=1)

    assert await store.count(stream, before=newest.id) == 5000
    assert await store.count(stream, before=newest.id.successor()) == 5001
    assert await store.count(stream, before=EntryId(1, 0)) == 0
    assert await store.count(stream, before=EntryId(0, 0)) == 0
    assert await wire("TYPE", stream) == b"stream"


async def test_a_missing_stream_has_no_oldest_entry(store: StreamStore, stream: str) -> None:
    assert await store.oldest(stream, count=1) == []
    assert await store.count(stream, before=EntryId(1, 0)) == 0
