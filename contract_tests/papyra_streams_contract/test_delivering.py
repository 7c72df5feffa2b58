"""What consumers are given: new entries, stuck ones, and their own once more."""

import asyncio
from contextlib import nullcontext

import pytest

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.errors import GroupMissing, UnsupportedOperation
from papyra_streams.ports import Delivered, Member, StreamStore

from . import needs
from .arranging import age, crowd, eventually, fill, given, holding, join, member, named, pending_rows
from .fixtures import IMPATIENT, OpenStore
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

HOUR_MS = 3_600_000


async def take_stuck(store: StreamStore, one: Member, *, count: int = 100) -> list[EntryId]:
    """Take what has been idle for an hour."""
    return given(await store.take_stuck(one, count=count, min_idle_ms=HOUR_MS, pause_ms=60_000))


# -- take


async def test_new_entries_are_given_whole_and_for_the_first_time(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 3)
    one = member(stream)
    await join(store, one)

    assert await store.take([one], count=2) == [
        Delivered(stream, Entry(EntryId(1, 0), {b"data": b"1"}), 1, 0),
        Delivered(stream, Entry(EntryId(2, 0), {b"data": b"2"}), 1, 0),
    ]


async def test_two_consumers_are_given_different_entries(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    one = member(stream)
    await join(store, one)

    assert given(await store.take([one], count=2)) == ids[:2]
    assert given(await store.take([named(one, "you")], count=9)) == ids[2:]


async def test_one_read_takes_from_several_streams(store: StreamStore, stream: str, wire: Wire) -> None:
    members = [member(f"{stream}:{{x}}:{name}") for name in ("a", "b", "c")]
    for number, one in enumerate(members):
        await fill(wire, one.stream, number)
        await join(store, one)

    taken = await store.take(members, count=5)
    assert [(each.stream, each.entry.id) for each in taken] == [
        (members[1].stream, EntryId(1, 0)),
        (members[2].stream, EntryId(1, 0)),
        (members[2].stream, EntryId(2, 0)),
    ]


async def test_taking_from_an_empty_stream_gives_nothing(store: StreamStore, stream: str) -> None:
    one = member(stream)
    await join(store, one)

    assert await store.take([one], count=5) == []
    assert await store.take([one], count=5, block_ms=20) == []


async def test_waiting_ends_with_the_first_entry(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await join(store, one)
    taken: list[Delivered] = []

    async def arrived() -> bool:
        taken.extend(await store.take([one], count=5, block_ms=1000))
        return bool(taken)

    await wire("XADD", stream, "1-0", "data", "1")
    await eventually(arrived)
    assert given(taken) == [EntryId(1, 0)]


@pytest.mark.parametrize("block_ms", [0, 50])
async def test_taking_for_a_missing_group_is_refused(
    store: StreamStore, stream: str, wire: Wire, block_ms: int
) -> None:
    with pytest.raises(GroupMissing):
        await store.take([member(stream)], count=1, block_ms=block_ms)

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.take([member(stream)], count=1, block_ms=block_ms)


async def test_reads_that_claim_are_refused_exactly_where_the_capability_is_lacking(
    store: StreamStore, stream: str
) -> None:
    one = member(stream)
    await join(store, one)

    can_claim = (await store.capabilities()).claiming_reads
    for block_ms in (0, 20):
        with nullcontext() if can_claim else pytest.raises(UnsupportedOperation):
            assert await store.take([one], count=1, block_ms=block_ms, claim_idle_ms=HOUR_MS) == []


@needs("claiming_reads")
async def test_a_read_that_claims_gives_stuck_entries_before_new_ones(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    await age(wire, stream, one.group, ids[:1])
    await wire("XADD", stream, "9-0", "data", "9")

    old, new = await store.take([named(one, "heir")], count=5, claim_idle_ms=HOUR_MS)
    assert (old.entry, old.attempt) == (Entry(ids[0], {b"data": b"1"}), 2)
    assert old.idle_ms >= HOUR_MS
    assert new == Delivered(stream, Entry(EntryId(9, 0), {b"data": b"9"}), 1, 0)


@needs("claiming_reads")
async def test_a_read_that_claims_leaves_out_what_was_deleted(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    await age(wire, stream, one.group, ids)
    await wire("XDEL", stream, str(ids[1]))

    assert given(await store.take([named(one, "heir")], count=5, claim_idle_ms=HOUR_MS)) == [ids[0], ids[2]]


@needs("claiming_reads")
@pytest.mark.usefixtures("store")
async def test_reads_that_claim_are_no_capability_of_who_may_not_read_for_a_group(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire
) -> None:
    await private_wire("ACL", "SETUSER", "writer", "on", f">{SECRET}", "~*", "+@all", "-xreadgroup")
    writer = open_store(private_server.target_as("writer", SECRET), IMPATIENT)

    assert not (await writer.capabilities()).claiming_reads


# -- take_stuck


async def test_stuck_entries_are_given_with_their_idle_time_and_counted(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 4)
    await age(wire, stream, one.group, ids[1:3])

    taken = await store.take_stuck(named(one, "heir"), count=9, min_idle_ms=HOUR_MS, pause_ms=1000)
    assert [each.entry for each in taken] == [Entry(ids[1], {b"data": b"2"}), Entry(ids[2], {b"data": b"3"})]
    assert {each.attempt for each in taken} == {2}
    assert all(HOUR_MS <= each.idle_ms < HOUR_MS + 60_000 for each in taken)
    assert await pending_rows(wire, one) == {
        ids[0]: ("me", 1),
        ids[1]: ("heir", 2),
        ids[2]: ("heir", 2),
        ids[3]: ("me", 1),
    }


async def test_stuck_entries_are_given_once_and_up_to_a_number(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 5)
    await age(wire, stream, one.group, ids)

    assert await take_stuck(store, named(one, "heir"), count=3) == ids[:3]
    assert await take_stuck(store, named(one, "other"), count=3) == ids[3:]
    assert await take_stuck(store, named(one, "heir"), count=3) == []


async def test_a_stuck_entry_that_was_deleted_is_taken_off_the_pending_list(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 4)
    await age(wire, stream, one.group, ids)
    await wire("XDEL", stream, str(ids[0]), str(ids[2]))

    assert await take_stuck(store, named(one, "heir")) == [ids[1], ids[3]]
    assert set(await pending_rows(wire, one)) == {ids[1], ids[3]}


async def test_a_search_that_found_nothing_spares_the_group_the_next(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    assert await take_stuck(store, one) == []
    await age(wire, stream, one.group, ids)

    assert await take_stuck(store, named(one, "heir")) == []
    assert 50_000 < await wire.number("PTTL", one.pause) <= 60_000
    await wire("DEL", one.pause)
    assert await take_stuck(store, named(one, "heir")) == ids


async def test_a_search_goes_on_where_the_last_one_ended_and_comes_round(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await crowd(store, wire, one, 12_500)
    await age(wire, stream, one.group, [ids[11_000], ids[12_499]])
    heir = named(one, "heir")

    assert await take_stuck(store, heir, count=1) == [ids[11_000]]
    await age(wire, stream, one.group, [ids[10]])
    assert await wire("EXISTS", one.pause) == 0
    assert await take_stuck(store, heir, count=1) == [ids[12_499]]
    assert await take_stuck(store, heir, count=1) == [ids[10]]
    assert await take_stuck(store, heir, count=1) == []
    assert 50_000 < await wire.number("PTTL", one.pause) <= 60_000


async def test_a_call_looks_at_very_many_entries_but_not_at_all_and_the_next_goes_on(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await crowd(store, wire, one, 101_000)
    await age(wire, stream, one.group, [ids[100_500]])

    assert await take_stuck(store, named(one, "heir")) == []
    assert await wire.number("PTTL", one.pause) > 0
    await wire("DEL", one.pause)
    assert await take_stuck(store, named(one, "other")) == [ids[100_500]]

    await age(wire, stream, one.group, ids[90_500:90_502])
    assert await take_stuck(store, named(one, "heir")) == ids[90_500:90_502]


async def test_of_many_that_look_at_once_one_finds_what_is_stuck(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await crowd(store, wire, one, 20_000)
    await age(wire, stream, one.group, ids[19_500:19_503])

    found = await asyncio.gather(*(take_stuck(store, named(one, f"heir-{number}")) for number in range(8)))
    assert sorted(found) == [[]] * 7 + [ids[19_500:19_503]]


async def test_a_server_that_is_full_is_looked_through_all_the_same(
    private_store: StreamStore, private_wire: Wire
) -> None:
    one = member("papyra:orders:events")
    ids = await crowd(private_store, private_wire, one, 12_500)
    await age(private_wire, one.stream, one.group, [ids[11_000]])
    await private_wire("CONFIG", "SET", "maxmemory", "1")

    assert await take_stuck(private_store, named(one, "heir")) == [ids[11_000]]
    assert await private_wire("EXISTS", one.pause) == 0


async def test_stuck_entries_behind_many_that_were_deleted_are_found_in_one_call(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 300)
    await age(wire, stream, one.group, ids)
    await wire("XDEL", stream, *map(str, ids[:250]))

    assert await take_stuck(store, named(one, "heir"), count=10) == ids[250:260]
    assert min(await pending_rows(wire, one)) == ids[250]


async def test_looking_for_stuck_entries_of_a_missing_group_is_refused(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    for _ in range(2):
        with pytest.raises(GroupMissing):
            await take_stuck(store, member(stream))
    await fill(wire, stream, 1)
    for _ in range(2):
        with pytest.raises(GroupMissing):
            await take_stuck(store, member(stream))


# -- take_again


async def test_only_own_entries_are_taken_again_and_counted(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 4)
    await wire("XCLAIM", stream, one.group, "you", 0, str(ids[1]), "JUSTID")
    await store.settle(one, [ids[2]])

    again = await store.take_again(one, [*reversed(ids), EntryId(99, 0)])
    assert [(each.entry, each.attempt) for each in again] == [
        (Entry(ids[0], {b"data": b"1"}), 2),
        (Entry(ids[3], {b"data": b"4"}), 2),
    ]
    assert await pending_rows(wire, one) == {ids[0]: ("me", 2), ids[1]: ("you", 1), ids[3]: ("me", 2)}


async def test_an_entry_that_was_deleted_is_not_taken_again(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 2)
    await wire("XDEL", stream, str(ids[0]))

    assert given(await store.take_again(one, ids)) == [ids[1]]
    assert set(await pending_rows(wire, one)) == {ids[1]}


async def test_taking_again_from_a_missing_group_is_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 1)

    with pytest.raises(GroupMissing):
        await store.take_again(member(stream), [EntryId(1, 0)])
