"""A group's consumers: who leads, who leaves, and how the group stands."""

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import GroupMissing
from papyra_streams.ports import PendingEntry, StreamStore

from . import needs
from .arranging import age, eventually, fill, holding, join, member, named
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

BEGINNING = EntryId(0, 0)
HOUR_MS = 3_600_000


# -- lead


async def test_one_consumer_leads_until_its_lease_ends(store: StreamStore, stream: str) -> None:
    one = member(stream)
    await join(store, one)
    other = named(one, "you")

    assert await store.lead(one, lease_ms=60_000)
    assert not await store.lead(other, lease_ms=60_000)
    assert await store.lead(one, lease_ms=50)

    async def took_over() -> bool:
        return await store.lead(other, lease_ms=60_000)

    await eventually(took_over)
    assert not await store.lead(one, lease_ms=60_000)


async def test_leading_on_extends_the_lease(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await join(store, one)
    await store.lead(one, lease_ms=1000)
    await store.lead(one, lease_ms=60_000)

    assert await wire.number("PTTL", one.leader) > 50_000


async def test_nobody_leads_a_missing_group(store: StreamStore, stream: str, wire: Wire) -> None:
    with pytest.raises(GroupMissing):
        await store.lead(member(stream), lease_ms=1000)

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.lead(member(stream), lease_ms=1000)


# -- leave


async def test_a_consumer_that_holds_nothing_leaves(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await store.settle(one, await holding(store, wire, one, 2))
    assert await store.lead(one, lease_ms=60_000)

    assert await store.leave(one)
    assert await store.consumers(stream, one.group) == []
    assert await wire("EXISTS", one.leader) == 0


async def test_a_consumer_that_holds_an_entry_stays(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await holding(store, wire, one, 1)
    await store.lead(one, lease_ms=60_000)

    assert not await store.leave(one)
    assert [each.name for each in await store.consumers(stream, one.group)] == ["me"]
    assert await store.lead(one, lease_ms=60_000)
    assert (await store.pending(stream, one.group)).count == 1


async def test_a_leader_that_leaves_with_entries_in_hand_leads_no_more(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream)
    await holding(store, wire, one, 1)
    await store.lead(one, lease_ms=60_000)

    assert not await store.leave(one)
    assert await store.lead(named(one, "you"), lease_ms=60_000)
    assert not await store.lead(one, lease_ms=60_000)


async def test_a_leader_whose_group_is_gone_leads_no_more(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await join(store, one)
    await store.lead(one, lease_ms=60_000)
    await wire("XGROUP", "DESTROY", stream, one.group)

    assert await store.leave(one)
    assert await wire("EXISTS", one.leader) == 0


async def test_a_leader_is_not_idle_and_keeps_its_lead(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await store.settle(one, await holding(store, wire, one, 1))
    await store.lead(one, lease_ms=60_000)

    async def is_idle() -> bool:
        return (await store.consumers(stream, one.group))[0].idle_ms > 5

    await eventually(is_idle)
    assert not await store.leave(one, idle_ms=1)
    assert not await store.lead(named(one, "you"), lease_ms=60_000)


async def test_a_consumer_that_was_heard_of_lately_stays(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await store.settle(one, await holding(store, wire, one, 1))

    assert not await store.leave(one, idle_ms=HOUR_MS)
    assert len(await store.consumers(stream, one.group)) == 1

    async def left() -> bool:
        return await store.leave(one, idle_ms=20)

    await eventually(left)


async def test_leaving_takes_the_lead_from_nobody_else(store: StreamStore, stream: str) -> None:
    one = member(stream)
    await join(store, one)
    await store.lead(one, lease_ms=60_000)

    assert await store.leave(named(one, "you"))
    assert not await store.lead(named(one, "you"), lease_ms=60_000)


async def test_a_consumer_that_is_not_there_is_gone(store: StreamStore, stream: str, wire: Wire) -> None:
    assert await store.leave(member(stream))

    await fill(wire, stream, 1)
    assert await store.leave(member(stream))

    await join(store, member(stream))
    assert await store.leave(member(stream))


# -- consumers and pending entries


async def test_consumers_tell_what_they_hold_and_since_when_they_are_idle(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    one = member(stream, group="two words")
    await holding(store, wire, one, 3)
    await store.take([named(one, "Zoë \N{SNOWMAN}")], count=1)

    found = {each.name: each for each in await store.consumers(stream, one.group)}
    assert found["me"].pending == 3
    assert all(0 <= each.idle_ms < 60_000 for each in found.values())
    assert all(each.inactive_ms is None or 0 <= each.inactive_ms < 60_000 for each in found.values())


async def test_consumers_of_a_missing_group_are_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    with pytest.raises(GroupMissing):
        await store.consumers(stream, "workers")

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.consumers(stream, "workers")


async def test_pending_entries_are_listed_page_by_page(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 5)
    await age(wire, stream, one.group, ids[:1])
    await store.take_again(one, ids[1:2])

    first = await store.pending_entries(stream, one.group, count=3, after=BEGINNING)
    assert [(each.id, each.consumer, each.deliveries) for each in first] == [
        (ids[0], "departed", 1),
        (ids[1], "me", 2),
        (ids[2], "me", 1),
    ]
    assert HOUR_MS <= first[0].idle_ms < HOUR_MS + 60_000
    rest = await store.pending_entries(stream, one.group, count=3, after=ids[2])
    assert [each.id for each in rest] == ids[3:]
    assert await store.pending_entries(stream, one.group, count=3, after=ids[4]) == []


async def test_the_largest_id_is_pending_before_no_other(store: StreamStore, stream: str, wire: Wire) -> None:
    largest = EntryId(2**64 - 1, 2**64 - 1)
    await wire("XADD", stream, str(largest), "data", "x")
    one = member(stream)
    await join(store, one)
    await store.take([one], count=1)

    assert await store.pending_entries(stream, one.group, count=3, after=largest) == []
    assert await store.take_pending(one, count=3, after=largest) == []
    (found,) = await store.pending_entries(stream, one.group, count=3, after=BEGINNING)
    assert isinstance(found, PendingEntry)
    assert found.id == largest


async def test_pending_entries_of_a_missing_group_are_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 1)

    with pytest.raises(GroupMissing):
        await store.pending_entries(stream, "workers", count=1, after=BEGINNING)


# -- standing


async def test_a_group_tells_how_it_stands(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await fill(wire, stream, 7)
    await join(store, one)
    await store.take([one], count=4)
    await store.settle(one, [ids[0]])
    seconds, _ = await wire.rows("TIME")
    assert isinstance(seconds, bytes)

    standing = await store.standing(stream, one.group)
    assert (standing.length, standing.pending) == (7, 3)
    assert (standing.last_delivered, standing.oldest_pending) == (ids[3], ids[1])
    assert 0 <= standing.moment_ms - 1000 * int(seconds) < 60_000


async def test_a_group_that_was_given_nothing_stands_at_its_start(store: StreamStore, stream: str) -> None:
    await join(store, member(stream))

    standing = await store.standing(stream, "workers")
    assert (standing.length, standing.pending, standing.lag) == (0, 0, 0)
    assert (standing.last_delivered, standing.oldest_pending) == (BEGINNING, None)


@needs("lag")
async def test_the_lag_is_what_the_server_counts(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    await fill(wire, stream, 5)
    await join(store, one)
    await store.take([one], count=2)

    assert (await store.standing(stream, one.group)).lag == 3


async def test_a_group_at_the_end_lags_by_nothing_on_every_server(store: StreamStore, stream: str, wire: Wire) -> None:
    one = member(stream)
    ids = await holding(store, wire, one, 4)
    assert (await store.standing(stream, one.group)).lag == 0

    await wire("XDEL", stream, str(ids[3]), str(ids[1]))
    assert (await store.standing(stream, one.group)).lag == 0
    await wire("XTRIM", stream, "MAXLEN", 0)
    assert (await store.standing(stream, one.group)).lag == 0


async def test_a_lag_that_cannot_be_known_is_no_guess(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 6)
    one = member(stream)
    await store.join(one, start=str(ids[1]), on_loss="resume", expected=False)
    await wire("XDEL", stream, str(ids[3]))

    assert (await store.standing(stream, one.group)).lag in (None, 3)


async def test_a_missing_group_stands_nowhere(store: StreamStore, stream: str, wire: Wire) -> None:
    with pytest.raises(GroupMissing):
        await store.standing(stream, "workers")

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.standing(stream, "workers")
