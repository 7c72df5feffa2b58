"""Giving entries up, and putting them back: each is in one place at any time."""

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import GroupMissing, Rejected
from papyra_streams.ports import BadEntry, DeadEntry, Joined, Member, Replayed, StreamStore

from .arranging import fields_of, fill, finished, given, holding, join, member, pending_rows, stored, told
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

BEGINNING = EntryId(0, 0)
HOUR_MS = 3_600_000
LAST_SEQUENCE = 2**64 - 1


@pytest.fixture
def quarantine(stream: str) -> str:
    """Return the key of a quarantine that is not there yet."""
    return f"quarantine:{{{stream}}}"


def dead(ids: list[EntryId]) -> list[DeadEntry]:
    """Give entries up."""
    return [DeadEntry(id=each, attempts=3, reason="poison", error="ValueError: \N{SNOWMAN}") for each in ids]


async def buried(store: StreamStore, wire: Wire, one: Member, quarantine: str, count: int = 1) -> list[EntryId]:
    """Fill the stream, bury all there is, and return the ids it has in the quarantine."""
    ids = await holding(store, wire, one, count)
    await store.bury(one, dead(ids), quarantine=quarantine, moment=1.5)
    return await stored(wire, quarantine)


# -- bury


async def test_a_buried_entry_is_copied_whole_and_says_why(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    await wire("XADD", stream, "5-1", "data", b"\x00\xff", "data", "again", "", "empty")
    one = member(stream, group="two words")
    await join(store, one)
    await store.take([one], count=1)
    await store.bury(one, dead([EntryId(5, 1)]), quarantine=quarantine, moment=1700000000.25)

    (words,) = await fields_of(wire, quarantine)
    about = [b"source", stream.encode(), b"id", b"5-1", b"reason", b"poison", b"timestamp", b"1700000000.25"]
    who = [b"group", b"two words", b"attempts", b"3", b"error", "ValueError: \N{SNOWMAN}".encode()]
    assert words == [*about, *who, b"field:data", b"\x00\xff", b"field:data", b"again", b"field:", b"empty"]


async def test_a_buried_entry_is_pending_no_more_and_stays_in_the_stream(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)

    assert told(await store.bury(one, dead(ids[:1]), quarantine=quarantine, moment=1.0)) == (ids[:1], [], [])
    assert set(await pending_rows(wire, one)) == set(ids[1:])
    assert await stored(wire, stream) == ids
    assert await finished(wire, one) == EntryId(1, LAST_SEQUENCE)


async def test_only_what_a_consumer_holds_is_buried(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    await wire("XCLAIM", stream, one.group, "you", 0, str(ids[0]), "JUSTID")
    await wire("XACK", stream, one.group, str(ids[1]))

    settled = await store.bury(one, dead(ids[::-1]), quarantine=quarantine, moment=1.0)
    assert told(settled) == ([ids[2]], [ids[1]], [ids[0]])
    assert len(await stored(wire, quarantine)) == 1
    assert told(await store.bury(one, dead(ids), quarantine=quarantine, moment=1.0)) == ([], ids[1:], ids[:1])
    assert len(await stored(wire, quarantine)) == 1


async def test_a_deleted_entry_is_acknowledged_only(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 2)
    await wire("XDEL", stream, str(ids[0]))

    assert told(await store.bury(one, dead(ids), quarantine=quarantine, moment=1.0)) == (ids, [], [])
    assert await pending_rows(wire, one) == {}
    assert len(await stored(wire, quarantine)) == 1


async def test_hundreds_of_entries_are_buried_in_one_call(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    assert len(await buried(store, wire, member(stream), quarantine, 350)) == 350
    assert (await store.pending(stream, "workers")).count == 0


async def test_burying_for_a_missing_group_is_refused(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 1)

    with pytest.raises(GroupMissing):
        await store.bury(member(stream), dead(ids), quarantine=quarantine, moment=1.0)
    assert await wire("EXISTS", quarantine) == 0


# -- quarantined and drop


async def test_a_quarantine_is_read_page_by_page(store: StreamStore, stream: str, quarantine: str, wire: Wire) -> None:
    ids = await buried(store, wire, member(stream), quarantine, 5)

    first = await store.quarantined(quarantine, count=3, after=BEGINNING)
    assert [each.id for each in first] == ids[:3]
    assert [dict(each.fields)[b"id"] for each in first] == [b"1-0", b"2-0", b"3-0"]
    assert [each.id for each in await store.quarantined(quarantine, count=3, after=ids[2])] == ids[3:]
    assert await store.quarantined(quarantine, count=3, after=ids[4]) == []
    assert await store.quarantined(quarantine, count=3, after=EntryId(LAST_SEQUENCE, LAST_SEQUENCE)) == []


async def test_a_missing_quarantine_is_empty(store: StreamStore, stream: str, quarantine: str) -> None:
    assert await store.quarantined(quarantine, count=3, after=BEGINNING) == []
    assert await store.drop(quarantine, [EntryId(1, 0)]) == 0
    assert await store.replay(stream, quarantine, EntryId(1, 0), to="released") is None


async def test_dropping_counts_what_was_there(store: StreamStore, stream: str, quarantine: str, wire: Wire) -> None:
    ids = await buried(store, wire, member(stream), quarantine, 3)

    assert await store.drop(quarantine, [*ids[:2], EntryId(1, 0)]) == 2
    assert await store.drop(quarantine, []) == 0
    assert await stored(wire, quarantine) == ids[2:]


# -- replay


async def test_a_replayed_entry_is_pending_for_its_group_once(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream, group="two words")
    (identifier,) = await buried(store, wire, one, quarantine)

    assert await store.replay(stream, quarantine, identifier, to="released") == Replayed("pending", EntryId(1, 0))
    assert await store.replay(stream, quarantine, identifier, to="released") is None
    assert await stored(wire, quarantine) == []
    assert await pending_rows(wire, one) == {EntryId(1, 0): ("released", 0)}
    (taken,) = await store.take_stuck(one, count=9, min_idle_ms=HOUR_MS, pause_ms=1)
    assert (taken.entry.fields, taken.attempt) == ({b"data": b"1"}, 1)


async def test_a_lost_group_that_resumes_gets_a_replayed_entry_again(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    _, second, _ = await buried(store, wire, one, quarantine, 3)
    assert await finished(wire, one) == EntryId(3, 0)
    await store.replay(stream, quarantine, second, to="released", state=one.state)
    await wire("XGROUP", "DESTROY", stream, one.group)

    joined = await store.join(one, start="$", on_loss="resume", expected=True)
    assert joined == Joined("restored", EntryId(1, LAST_SEQUENCE))
    assert given(await store.take([one], count=9)) == [EntryId(2, 0), EntryId(3, 0)]


async def test_a_replayed_entry_that_is_finished_holds_a_lost_group_back_no_more(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    first, second = await buried(store, wire, one, quarantine, 2)
    for each in (second, first):
        await store.replay(stream, quarantine, each, to="released", state=one.state)
    assert await finished(wire, one) == EntryId(0, LAST_SEQUENCE)

    taken = await store.take_stuck(one, count=9, min_idle_ms=HOUR_MS, pause_ms=1)
    await store.settle(one, given(taken))
    assert await finished(wire, one) == EntryId(2, 0)


async def test_replaying_takes_no_group_further_than_it_had_finished(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    await store.bury(one, dead(ids[1:2]), quarantine=quarantine, moment=1.0)
    (identifier,) = await stored(wire, quarantine)

    await store.replay(stream, quarantine, identifier, to="released", state=one.state)
    assert await finished(wire, one) == EntryId(0, LAST_SEQUENCE)


async def test_replaying_tells_nothing_of_a_group_of_which_nothing_is_known(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    (identifier,) = await buried(store, wire, one, quarantine)
    await wire("DEL", one.state)

    assert await store.replay(stream, quarantine, identifier, to="released", state=one.state) is not None
    assert await wire("EXISTS", one.state) == 0


async def test_what_is_appended_anew_leaves_what_the_group_had_finished(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    first, _ = await buried(store, wire, one, quarantine, 2)
    await wire("XDEL", stream, "1-0")

    replayed = await store.replay(stream, quarantine, first, to="released", state=one.state)
    assert replayed is not None
    assert replayed.how == "appended"
    assert await finished(wire, one) == EntryId(2, 0)


async def test_other_groups_do_not_get_a_replayed_entry(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    (identifier,) = await buried(store, wire, member(stream), quarantine)
    other = member(stream, group="others")
    await store.join(other, start="$", on_loss="resume", expected=False)
    await store.replay(stream, quarantine, identifier, to="released")

    assert await store.take([other], count=9) == []
    assert await pending_rows(wire, other) == {}


async def test_an_entry_that_the_group_gets_anyway_only_leaves_the_quarantine(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    first, second = await buried(store, wire, one, quarantine, 2)
    await wire("XGROUP", "SETID", stream, one.group, "0")
    await store.take([one], count=1)

    assert await store.replay(stream, quarantine, first, to="released") == Replayed("pending", EntryId(1, 0))
    assert await store.replay(stream, quarantine, second, to="released") == Replayed("pending", EntryId(2, 0))
    assert await pending_rows(wire, one) == {EntryId(1, 0): ("me", 1)}
    assert given(await store.take([one], count=9)) == [EntryId(2, 0)]
    assert await stored(wire, quarantine) == []


@pytest.mark.parametrize("lost", ["entry", "group", "stream"])
async def test_what_cannot_be_pending_is_appended_and_marked(
    store: StreamStore, stream: str, quarantine: str, wire: Wire, lost: str
) -> None:
    one = member(stream)
    (identifier,) = await buried(store, wire, one, quarantine)
    losses = {"entry": ("XDEL", stream, "1-0"), "group": ("XGROUP", "DESTROY", stream, one.group)}
    await wire(*losses.get(lost, ("DEL", stream)))

    replayed = await store.replay(stream, quarantine, identifier, to="released")
    assert replayed is not None
    assert replayed.how == "appended"
    assert (await stored(wire, stream))[-1] == replayed.id
    assert sorted((await fields_of(wire, stream))[-1]) == sorted([b"data", b"1", b"replay_of", b"1-0"])
    assert await stored(wire, quarantine) == []
    assert await store.replay(stream, quarantine, identifier, to="released") is None


async def test_an_entry_that_was_retired_is_appended(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 1)
    await store.retire(stream, [BadEntry(ids[0], "no json")], quarantine=quarantine, moment=1.0)
    (identifier,) = await stored(wire, quarantine)

    replayed = await store.replay(stream, quarantine, identifier, to="released")
    assert replayed is not None
    assert replayed.how == "appended"


async def test_an_entry_that_is_replayed_time_and_again_names_its_last_id_alone(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    one = member(stream)
    (identifier,) = await buried(store, wire, one, quarantine)
    await wire("DEL", stream)
    again = await store.replay(stream, quarantine, identifier, to="released")
    assert again is not None
    await join(store, one)
    await store.take([one], count=1)
    await store.bury(one, dead([again.id]), quarantine=quarantine, moment=1.0)
    await wire("DEL", stream)
    (identifier,) = await stored(wire, quarantine)

    await store.replay(stream, quarantine, identifier, to="released")
    (words,) = await fields_of(wire, stream)
    assert words.count(b"replay_of") == 1
    assert str(again.id).encode() in words


async def test_an_entry_of_thousands_of_fields_comes_back_whole(
    store: StreamStore, stream: str, quarantine: str, wire: Wire
) -> None:
    fields = [word for number in range(3000) for word in (f"name{number}", f"value{number}")]
    await wire("XADD", stream, "1-0", *fields)
    one = member(stream)
    await join(store, one)
    await store.take([one], count=1)
    await store.bury(one, dead([EntryId(1, 0)]), quarantine=quarantine, moment=1.0)
    await wire("DEL", stream)
    (identifier,) = await stored(wire, quarantine)

    await store.replay(stream, quarantine, identifier, to="released")
    (words,) = await fields_of(wire, stream)
    assert words == [b"replay_of", b"1-0", *(word.encode() for word in fields)]


@pytest.mark.parametrize(
    "words", [("note", "by hand"), ("id", "-", "group", "workers"), ("id", "1", "group", "workers")]
)
async def test_what_somebody_else_put_into_a_quarantine_stays_there(
    store: StreamStore, stream: str, quarantine: str, wire: Wire, words: tuple[str, ...]
) -> None:
    await holding(store, wire, member(stream), 1)
    await wire("XADD", quarantine, "7-0", *words)

    with pytest.raises(Rejected):
        await store.replay(stream, quarantine, EntryId(7, 0), to="released")
    assert await stored(wire, quarantine) == [EntryId(7, 0)]
    assert await stored(wire, stream) == [EntryId(1, 0)]
