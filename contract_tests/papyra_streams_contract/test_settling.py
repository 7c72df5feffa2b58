"""Leases: renewing, settling and releasing what a consumer holds, and being told what it no longer holds."""

import asyncio

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import GroupMissing
from papyra_streams.ports import Member, Settled, StreamStore

from .arranging import age, fill, finished, given, holding, join, member, named, pending_rows, told
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

HOUR_MS = 3_600_000
LAST_SEQUENCE = 2**64 - 1
UNKNOWN = EntryId(99, 0)


async def some_taken_and_some_gone(store: StreamStore, wire: Wire, one: Member) -> list[EntryId]:
    """Have a consumer hold entries, of which it then loses the second to another, and the third altogether."""
    ids = await holding(store, wire, one, 5)
    await wire("XCLAIM", one.stream, one.group, "you", 0, str(ids[1]), "JUSTID")
    await wire("XACK", one.stream, one.group, str(ids[2]))
    return ids


async def act(store: StreamStore, verb: str, one: Member, ids: list[EntryId]) -> Settled:
    """Renew, settle or release entries."""
    match verb:
        case "renew":
            return await store.renew(one, ids)
        case "settle":
            return await store.settle(one, ids)
        case _:
            return await store.release(one, dict.fromkeys(ids, HOUR_MS), to="released", counted=True)


@pytest.mark.parametrize("verb", ["renew", "settle", "release"])
async def test_a_consumer_is_told_what_it_no_longer_holds(
    store: StreamStore, stream: str, wire: Wire, verb: str
) -> None:
    one = member(stream)
    ids = await some_taken_and_some_gone(store, wire, one)

    settled = await act(store, verb, one, [*reversed(ids), ids[0]])
    assert told(settled) == ([ids[0], ids[3], ids[4]], [ids[2]], [ids[1]])
    assert (await pending_rows(wire, one))[ids[1]] == ("you", 1)


@pytest.mark.parametrize("verb", ["renew", "settle", "release"])
async def test_a_consumer_that_holds_nothing_does_nothing(
    store: StreamStore, stream: str, wire: Wire, verb: str
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    before = await pending_rows(wire, one)

    assert told(await act(store, verb, named(one, "stranger"), ids)) == ([], [], ids)
    assert told(await act(store, verb, one, [])) == ([], [], [])
    assert await pending_rows(wire, one) == before


@pytest.mark.parametrize("verb", ["renew", "settle", "release"])
async def test_thousands_of_entries_are_worked_on_in_one_call(
    store: StreamStore, stream: str, wire: Wire, verb: str
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 5000)
    await wire("XACK", stream, one.group, *map(str, ids[2500:]))

    assert told(await act(store, verb, one, ids)) == (ids[:2500], ids[2500:], [])
    assert len(await pending_rows(wire, one)) == (0 if verb == "settle" else 2500)


@pytest.mark.parametrize("verb", ["renew", "settle", "release"])
async def test_a_missing_group_is_told(store: StreamStore, stream: str, wire: Wire, verb: str) -> None:
    with pytest.raises(GroupMissing):
        await act(store, verb, member(stream), [UNKNOWN])

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await act(store, verb, member(stream), [UNKNOWN])


@pytest.mark.parametrize("verb", ["renew", "settle", "release"])
async def test_ids_of_64_bits_are_told_apart(store: StreamStore, stream: str, wire: Wire, verb: str) -> None:
    ids = [EntryId(2**53, 0), EntryId(2**53 + 1, LAST_SEQUENCE - 1), EntryId(2**53 + 1, LAST_SEQUENCE)]
    for each in ids:
        await wire("XADD", stream, str(each), "data", "x")
    one = member(stream)
    await join(store, one)
    await store.take([one], count=2)

    assert told(await act(store, verb, one, ids)) == (ids[:2], ids[2:], [])


# -- renew


async def test_a_renewed_entry_is_not_stuck_and_not_counted(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    for each in ids:
        await wire("XCLAIM", stream, one.group, "me", 0, str(each), "IDLE", HOUR_MS, "JUSTID")

    await store.renew(one, ids[:2])
    taken = await store.take_stuck(named(one, "heir"), count=9, min_idle_ms=HOUR_MS, pause_ms=1)
    assert given(taken) == ids[2:]
    assert await pending_rows(wire, one) == {ids[0]: ("me", 1), ids[1]: ("me", 1), ids[2]: ("heir", 2)}


async def test_renewing_what_was_deleted_from_the_stream_never_hides_who_holds_it(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 2)
    await wire("XDEL", stream, str(ids[0]))

    assert told(await store.renew(one, ids)) == (ids, [], [])
    assert set(await pending_rows(wire, one)) in [{*ids}, {ids[1]}]


# -- settle


async def test_settled_entries_are_pending_for_nobody(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 4)
    await store.settle(one, [ids[2], ids[0]])

    assert set(await pending_rows(wire, one)) == {ids[1], ids[3]}
    assert told(await store.settle(one, ids)) == ([ids[1], ids[3]], [ids[0], ids[2]], [])


async def test_settling_saves_how_far_the_group_has_finished(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 4)
    steps = [([ids[1]], EntryId(0, LAST_SEQUENCE)), ([ids[0]], EntryId(2, LAST_SEQUENCE)), (ids[2:], ids[3])]
    for settled, after in steps:
        await store.settle(one, settled)
        assert await finished(wire, one) == after


async def test_others_entries_count_for_how_far_the_group_has_finished(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    await fill(wire, stream, 4)
    await join(store, one)
    await store.take([named(one, "you")], count=1)
    mine = await store.take([one], count=3)

    await store.settle(one, given(mine))
    assert await finished(wire, one) == EntryId(0, LAST_SEQUENCE)


async def test_a_deleted_entry_is_settled_as_any_other(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 2)
    await wire("XDEL", stream, *map(str, ids))

    assert told(await store.settle(one, ids)) == (ids, [], [])


async def test_an_entry_that_was_deleted_while_it_was_in_hand_and_kept_is_settled_as_any_other(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 2)
    await wire("XDEL", stream, *map(str, ids))
    await store.renew(one, ids)

    assert told(await store.settle(one, ids)) == (ids, [], [])
    assert await pending_rows(wire, one) == {}


async def test_of_two_that_settle_and_claim_at_once_one_has_the_entry(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 40)
    await age(wire, stream, one.group, ids)
    await wire("XCLAIM", stream, one.group, "me", 0, *map(str, ids), "IDLE", HOUR_MS, "JUSTID")

    claiming = [store.take_stuck(named(one, "heir"), count=1, min_idle_ms=HOUR_MS, pause_ms=1) for _ in ids]
    settling = [store.settle(one, [each]) for each in reversed(ids)]
    outcomes = await asyncio.gather(*(call for pair in zip(claiming, settling, strict=True) for call in pair))

    claimed = [each for taken in outcomes[::2] if isinstance(taken, list) for each in given(taken)]
    done = [each for settled in outcomes[1::2] if isinstance(settled, Settled) for each in settled.done]
    assert len(claimed) == len(set(claimed))
    assert set(claimed).isdisjoint(done)
    assert set(await pending_rows(wire, one)) == set(claimed) | (set(ids) - set(done))


# -- release


async def test_a_released_entry_is_as_idle_as_was_said(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 3)
    await store.release(one, {ids[0]: 2 * HOUR_MS, ids[1]: HOUR_MS // 2, ids[2]: 0}, to="released", counted=True)

    idle = [
        row.idle_ms // 60_000 for row in await store.pending_entries(stream, one.group, count=9, after=EntryId(0, 0))
    ]
    assert idle == [120, 30, 0]
    taken = await store.take_stuck(named(one, "heir"), count=9, min_idle_ms=HOUR_MS, pause_ms=1)
    assert [(each.entry.id, each.attempt) for each in taken] == [(ids[0], 2)]


@pytest.mark.parametrize("idle_ms", [10**15, -5])
async def test_an_idle_time_may_be_any_number(store: StreamStore, stream: str, wire: Wire, idle_ms: int) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 1)
    await store.release(one, {ids[0]: idle_ms}, to="released", counted=True)

    (row,) = await store.pending_entries(stream, one.group, count=9, after=EntryId(0, 0))
    assert row.idle_ms > 20 * 365 * 24 * HOUR_MS if idle_ms > 0 else row.idle_ms < HOUR_MS


@pytest.mark.parametrize(("counted", "attempt"), [(True, 3), (False, 2)])
async def test_an_attempt_is_taken_back_unless_it_counts(
    store: StreamStore, stream: str, wire: Wire, *, counted: bool, attempt: int
) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 1)
    await store.take_again(one, ids)
    await store.release(one, {ids[0]: HOUR_MS}, to="released", counted=counted)

    assert await pending_rows(wire, one) == {ids[0]: ("released", attempt - 1)}
    (taken,) = await store.take_stuck(one, count=9, min_idle_ms=HOUR_MS, pause_ms=1)
    assert taken.attempt == attempt
