"""Joining a group: finding it, creating it, and restoring it where it was lost."""

from typing import Literal

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import GroupMissing, WrongType
from papyra_streams.ports import Joined, StreamStore

from .arranging import fill, finished, given, holding, join, member
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

BEGINNING = EntryId(0, 0)
LAST_SEQUENCE = 2**64 - 1


@pytest.mark.parametrize(("start", "after"), [("0", BEGINNING), ("2", EntryId(2, 0)), ("3-0", EntryId(3, 0))])
async def test_a_group_is_created_after_its_start(
    store: StreamStore, stream: str, wire: Wire, start: str, after: EntryId
) -> None:
    ids = await fill(wire, stream, 5)
    one = member(stream)

    assert await store.join(one, start=start, on_loss="resume", expected=False) == Joined("created", after)
    assert given(await store.take([one], count=9)) == [each for each in ids if each > after]
    assert await finished(wire, one) == after


async def test_a_group_that_begins_with_new_entries_knows_where_that_was(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    await fill(wire, stream, 5)
    await wire("XDEL", stream, "5-0")
    one = member(stream)

    assert await store.join(one, start="$", on_loss="resume", expected=False) == Joined("created", EntryId(5, 0))
    await wire("XGROUP", "DESTROY", stream, one.group)
    await wire("XADD", stream, "6-0", "data", 6)
    assert await store.join(one, start="$", on_loss="resume", expected=True) == Joined("restored", EntryId(5, 0))


async def test_joining_makes_a_missing_stream(store: StreamStore, stream: str, wire: Wire) -> None:
    assert await store.join(member(stream), start="$", on_loss="resume", expected=False) == Joined("created", BEGINNING)
    assert await wire("TYPE", stream) == b"stream"


async def test_a_group_that_is_there_is_found(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)

    assert await store.join(one, start="0", on_loss="fail", expected=True) == Joined("found", ids[2])


async def test_how_far_a_found_group_has_finished_is_saved(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 5)
    await store.create_group(stream, "workers", start="0")
    one = member(stream)
    await store.take([one], count=3)
    await store.acknowledge(stream, "workers", [EntryId(1, 0)])

    await store.join(one, start="0", on_loss="resume", expected=False)
    assert await finished(wire, one) == EntryId(1, LAST_SEQUENCE)


async def test_a_lost_group_resumes_after_what_it_had_finished(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 6)
    await store.settle(one, [ids[0], ids[1], ids[4]])
    await wire("XGROUP", "DESTROY", stream, one.group)

    joined = await store.join(one, start="$", on_loss="resume", expected=False)
    assert joined == Joined("restored", EntryId(2, LAST_SEQUENCE))
    assert given(await store.take([one], count=9)) == ids[2:]


async def test_a_lost_group_may_begin_anew(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    await store.settle(one, ids)
    await wire("XGROUP", "DESTROY", stream, one.group)

    assert await store.join(one, start="$", on_loss="replay", expected=True) == Joined("restored", BEGINNING)
    assert given(await store.take([one], count=9)) == ids


@pytest.mark.parametrize("how", ["expected", "known"])
async def test_a_lost_group_may_be_an_error(store: StreamStore, stream: str, wire: Wire, how: str) -> None:
    one = member(stream)
    await fill(wire, stream, 3)
    if how == "known":
        await join(store, one)
        await wire("XGROUP", "DESTROY", stream, one.group)

    with pytest.raises(GroupMissing):
        await store.join(one, start="0", on_loss="fail", expected=how == "expected")
    assert await store.groups(stream) == []


@pytest.mark.parametrize("on_loss", ["resume", "replay"])
async def test_a_group_of_which_nothing_is_known_begins_anew(
    store: StreamStore, stream: str, wire: Wire, on_loss: Literal["resume", "replay"]
) -> None:
    await fill(wire, stream, 3)

    assert await store.join(member(stream), start="$", on_loss=on_loss, expected=True) == Joined("restored", BEGINNING)


async def test_what_was_finished_in_a_stream_that_was_deleted_says_nothing_of_the_next(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    await store.settle(one, await holding(store, wire, one, 5))
    await wire("DEL", stream)
    ids = await fill(wire, stream, 4)

    assert await store.join(one, start="$", on_loss="resume", expected=True) == Joined("restored", BEGINNING)
    assert given(await store.take([one], count=9)) == ids


@pytest.mark.parametrize("group", ["two words", "für alle \N{SNOWMAN}", "-- [[']]", "g" * 1000])
async def test_a_group_may_have_any_name(store: StreamStore, stream: str, wire: Wire, group: str) -> None:
    one = member(stream, "Zoë \N{SNOWMAN}", group=group)
    ids = await holding(store, wire, one, 2)

    assert (await store.join(one, start="0", on_loss="fail", expected=True)).how == "found"
    assert sorted((await store.settle(one, ids)).done) == ids
    assert await finished(wire, one) == ids[1]


async def test_joining_a_group_of_something_else_than_a_stream_is_refused(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    await wire("SET", stream, "text")

    with pytest.raises(WrongType):
        await store.join(member(stream), start="0", on_loss="resume", expected=False)


async def test_ids_of_64_bits_are_resumed_after_exactly(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = [EntryId(2**53 + 1, LAST_SEQUENCE - 1), EntryId(2**53 + 1, LAST_SEQUENCE), EntryId(10**19, 0)]
    for each in ids:
        await wire("XADD", stream, str(each), "data", "x")
    one = member(stream)
    await join(store, one)
    await store.take([one], count=3)

    afters = [EntryId(2**53 + 1, LAST_SEQUENCE - 1), EntryId(10**19 - 1, LAST_SEQUENCE)]
    for settled, after in zip(ids, afters, strict=False):
        await store.settle(one, [settled])
        await wire("XGROUP", "DESTROY", stream, one.group)
        assert (await store.join(one, start="0", on_loss="resume", expected=True)).after == after
        await store.take([one], count=3)
