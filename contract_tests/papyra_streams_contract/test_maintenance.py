"""Taking bad entries out."""

import asyncio

import msgspec
import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import BadEntry, StreamStore

from .arranging import fields_of, fill, stored
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

MOMENT = 1_700_000_000.25


@pytest.fixture
def quarantine(stream: str) -> str:
    """Return a key in the stream's slot."""
    return f"quarantine:{{{stream}}}"


async def test_retire_takes_the_named_entries_out(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    bad = [BadEntry(ids[1], "no JSON"), BadEntry(ids[3], "no JSON")]

    assert await store.retire(stream, bad, quarantine=None, moment=MOMENT) == [ids[1], ids[3]]
    assert await stored(wire, stream) == [ids[0], ids[2], ids[4]]


async def test_a_quarantined_entry_keeps_its_fields_behind_where_it_comes_from(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    await wire("XADD", stream, "7-3", "data", "{", "id", "mine")
    await store.retire(stream, [BadEntry(EntryId(7, 3), "no JSON: ü")], quarantine=quarantine, moment=MOMENT)

    ((*origin, moment, name, value, second_name, second_value),) = await fields_of(wire, quarantine)
    assert origin == [b"source", stream.encode(), b"id", b"7-3", b"reason", "no JSON: ü".encode(), b"timestamp"]
    assert float(moment) == MOMENT
    assert [name, value, second_name, second_value] == [b"field:data", b"{", b"field:id", b"mine"]


async def test_quarantine_keeps_every_byte_and_every_field_of_one_name(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    await wire("XADD", stream, "1-0", b"\xff\r\n", bytes(range(256)), "same", "one", "same", b"\x00", "", "")
    await store.retire(stream, [BadEntry(EntryId(1, 0), "bad")], quarantine=quarantine, moment=MOMENT)

    (fields,) = await fields_of(wire, quarantine)
    kept = [b"field:\xff\r\n", bytes(range(256)), b"field:same", b"one", b"field:same", b"\x00", b"field:", b""]
    assert fields[8:] == kept


async def test_quarantine_keeps_an_entry_of_very_many_fields(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    words = [f"{number}" for number in range(20_000)]
    await wire("XADD", stream, "1-0", *words)

    assert await store.retire(stream, [BadEntry(EntryId(1, 0), "bad")], quarantine=quarantine, moment=MOMENT)
    (fields,) = await fields_of(wire, quarantine)
    assert fields[8] == b"fields"
    assert msgspec.msgpack.decode(fields[9]) == words
    assert await store.length(stream) == 0


async def test_very_many_entries_may_be_retired_at_once(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    bad = [BadEntry(each, "bad") for each in await fill(wire, stream, 9000)]
    await store.create_group(stream, "workers", start="0")

    assert len(await store.retire(stream, bad, quarantine=quarantine, moment=MOMENT)) == 9000
    assert await wire.number("XLEN", quarantine) == 9000


async def test_entries_are_quarantined_in_the_order_given(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 4)
    await store.retire(stream, [BadEntry(each, "bad") for each in ids], quarantine=quarantine, moment=MOMENT)

    assert [fields[-1] for fields in await fields_of(wire, quarantine)] == [b"1", b"2", b"3", b"4"]


async def test_retired_entries_are_off_the_pending_list_of_every_group(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 3)
    for group in ("first", "second"):
        await store.create_group(stream, group, start="0")
        await store.read_group(stream, group, "me", count=3)
    await store.retire(stream, [BadEntry(ids[1], "bad")], quarantine=quarantine, moment=MOMENT)

    for group in ("first", "second"):
        left = await store.read_group(stream, group, "me", count=9, after="0")
        assert [entry.id for entry in left] == [ids[0], ids[2]]


async def test_a_repeated_retirement_changes_nothing(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    bad = [BadEntry(each, "bad") for each in await fill(wire, stream, 3)]
    await store.retire(stream, bad, quarantine=quarantine, moment=MOMENT)
    before = await stored(wire, quarantine)

    assert await store.retire(stream, bad, quarantine=quarantine, moment=MOMENT + 1) == []
    assert await stored(wire, quarantine) == before


async def test_two_recoveries_at_once_quarantine_each_entry_once(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    bad = [BadEntry(each, "bad") for each in await fill(wire, stream, 100)]
    retired = await asyncio.gather(*(store.retire(stream, bad, quarantine=quarantine, moment=MOMENT) for _ in range(5)))

    assert sum(map(len, retired)) == 100
    assert await wire.number("XLEN", quarantine) == 100


async def test_an_entry_that_is_gone_already_is_left_out(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 2)
    bad = [BadEntry(EntryId(99, 0), "bad"), BadEntry(ids[0], "bad")]

    assert await store.retire(stream, bad, quarantine=quarantine, moment=MOMENT) == [ids[0]]
    assert await wire.number("XLEN", quarantine) == 1


async def test_retiring_nothing_does_nothing(store: StreamStore, stream: str, quarantine: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 1)

    assert await store.retire(stream, [], quarantine=quarantine, moment=MOMENT) == []
    assert await stored(wire, stream) == ids
    assert await wire("EXISTS", quarantine) == 0


async def test_a_stream_outlives_its_last_entry_with_its_groups(store: StreamStore, stream: str, wire: Wire) -> None:
    (only,) = await fill(wire, stream, 1)
    await store.create_group(stream, "workers", start="0")
    await store.retire(stream, [BadEntry(only, "bad")], quarantine=None, moment=MOMENT)

    assert await store.length(stream) == 0
    assert [group.name for group in await store.groups(stream)] == ["workers"]


async def test_a_missing_stream_has_nothing_to_retire(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    bad = [BadEntry(EntryId(1, 0), "bad")]

    assert await store.retire(stream, bad, quarantine=quarantine, moment=MOMENT) == []
    assert await wire("EXISTS", stream, quarantine) == 0
