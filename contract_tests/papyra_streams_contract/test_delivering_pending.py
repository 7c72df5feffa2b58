"""What a group's new leader is given: all that is pending, in order, but for what it has in hand."""

import pytest

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.errors import GroupMissing
from papyra_streams.ports import StreamStore

from .arranging import crowd, fill, given, holding, member, named, pending_rows
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

HOUR_MS = 3_600_000
BEGINNING = EntryId(0, 0)


async def test_pending_entries_are_given_in_order_whoever_held_them(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 5)
    await wire("XCLAIM", stream, one.group, "you", 0, str(ids[1]), "JUSTID")

    assert given(await store.take_pending(one, count=3, after=BEGINNING)) == ids[:3]
    last = await store.take_pending(one, count=3, after=ids[2])
    assert [each.entry.fields for each in last] == [{b"data": b"4"}, {b"data": b"5"}]
    assert await store.take_pending(one, count=3, after=ids[4]) == []
    assert await pending_rows(wire, one) == dict.fromkeys(ids, ("me", 1))


async def test_giving_pending_entries_counts_no_attempt_but_the_one_of_those_that_had_none(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 5)
    for each, count in zip(ids, [0, 7, 1, 0, 7], strict=True):
        await wire("XCLAIM", stream, one.group, "you", 0, str(each), "IDLE", HOUR_MS, "RETRYCOUNT", count, "JUSTID")

    taken = await store.take_pending(named(one, "heir"), count=5, after=BEGINNING)
    assert [each.entry for each in taken] == [Entry(each, {b"data": b"%d" % each.milliseconds}) for each in ids]
    assert [each.attempt for each in taken] == [0, 7, 1, 0, 7]
    assert all(HOUR_MS <= each.idle_ms < HOUR_MS + 60_000 for each in taken)
    rows = await pending_rows(wire, one)
    assert [rows[each] for each in ids] == [("heir", 1), ("heir", 7), ("heir", 1), ("heir", 1), ("heir", 7)]


async def test_pending_entries_that_are_left_out_stay_as_they_are_where_the_consumer_holds_them(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 6)
    await wire("XCLAIM", stream, one.group, "you", 0, str(ids[3]), "JUSTID")
    await wire("XCLAIM", stream, one.group, "me", 0, str(ids[1]), "IDLE", HOUR_MS, "RETRYCOUNT", 0, "JUSTID")

    but = [ids[3], ids[1], ids[0], EntryId(1, 7)]
    assert given(await store.take_pending(one, count=2, after=BEGINNING, but=but)) == [ids[2], ids[3]]
    assert given(await store.take_pending(one, count=9, after=ids[3], but=but)) == ids[4:]
    (row,) = await wire.rows("XPENDING", stream, one.group, "IDLE", HOUR_MS, "-", "+", 9)
    assert isinstance(row, list)
    assert (row[0], row[1], row[3]) == (str(ids[1]).encode(), b"me", 0)


@pytest.mark.parametrize("count", [1, 3, 700])
async def test_entries_are_found_among_thousands_that_are_left_out(
    store: StreamStore, stream: str, wire: Wire, count: int
) -> None:
    one = member(stream)
    ids = await crowd(store, wire, one, 5000)
    wanted = [ids[2500], ids[2501], *ids[4000:4500]]
    but = set(ids) - set(wanted)

    assert given(await store.take_pending(one, count=count, after=BEGINNING, but=but)) == wanted[:count]
    assert given(await store.take_pending(one, count=count, after=wanted[1], but=but)) == wanted[2:][:count]
    assert await store.take_pending(one, count=count, after=wanted[-1], but=but) == []


async def test_fewer_pending_entries_are_given_only_where_there_are_no_more(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 30)
    await wire("XDEL", stream, *map(str, ids[:25]))

    assert given(await store.take_pending(one, count=4, after=BEGINNING)) == ids[25:29]
    assert given(await store.take_pending(one, count=4, after=BEGINNING)) == ids[25:29]
    assert set(await pending_rows(wire, one)) == set(ids[25:])


async def test_thousands_of_pending_entries_are_given_in_one_call(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await crowd(store, wire, one, 5000)

    assert given(await store.take_pending(one, count=4500, after=BEGINNING)) == ids[:4500]
    assert given(await store.take_pending(one, count=4500, after=ids[3999])) == ids[4000:]


async def test_pending_entries_of_a_missing_group_are_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 1)

    with pytest.raises(GroupMissing):
        await store.take_pending(member(stream), count=1, after=BEGINNING)
