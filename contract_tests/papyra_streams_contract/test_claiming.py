"""Taking over what another consumer was given and did not acknowledge."""

import asyncio

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import GroupMissing
from papyra_streams.ports import PendingState, StreamStore

from .arranging import age, fill, identifiers
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

HOUR_MS = 3_600_000


async def pending_entries(store: StreamStore, stream: str, wire: Wire, count: int) -> list[EntryId]:
    """Have entries delivered to a consumer that has since departed."""
    ids = await fill(wire, stream, count)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "departed", count=count)
    return ids


async def test_claimed_entries_are_given_whole_and_in_the_order_asked_for(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await pending_entries(store, stream, wire, 3)

    claimed = await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=ids)
    assert identifiers(claimed) == ids
    assert [entry.fields for entry in claimed] == [{b"data": b"1"}, {b"data": b"2"}, {b"data": b"3"}]


async def test_claimed_entries_are_pending_for_the_claimer(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await pending_entries(store, stream, wire, 3)
    await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=ids[:2])

    assert (await store.pending(stream, "workers")).consumers == {"departed": 1, "heir": 2}
    assert identifiers(await store.read_group(stream, "workers", "heir", count=9, after="0")) == ids[:2]


async def test_only_entries_idle_for_long_enough_are_claimed(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await pending_entries(store, stream, wire, 4)
    await age(wire, stream, "workers", ids[1:3])

    assert identifiers(await store.claim(stream, "workers", "heir", min_idle_ms=HOUR_MS, ids=ids)) == ids[1:3]


async def test_a_claimed_entry_is_no_longer_idle(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await pending_entries(store, stream, wire, 1)
    await age(wire, stream, "workers", ids)
    await store.claim(stream, "workers", "heir", min_idle_ms=HOUR_MS, ids=ids)

    assert await store.claim(stream, "workers", "another", min_idle_ms=HOUR_MS, ids=ids) == []


async def test_entries_that_are_not_pending_are_not_claimed(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await pending_entries(store, stream, wire, 2)
    await store.acknowledge(stream, "workers", [ids[0]])
    never_delivered = EntryId.parse((await wire.text("XADD", stream, "9-0", "data", "9")).decode())

    assert (
        await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=[ids[0], never_delivered, EntryId(99, 0)]) == []
    )


async def test_claiming_nothing_gives_nothing(store: StreamStore, stream: str, wire: Wire) -> None:
    await pending_entries(store, stream, wire, 1)

    assert await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=[]) == []


async def test_a_deleted_entry_is_taken_off_the_pending_list(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await pending_entries(store, stream, wire, 3)
    await wire("XDEL", stream, str(ids[0]), str(ids[2]))

    assert identifiers(await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=ids)) == [ids[1]]
    assert await store.pending(stream, "workers") == PendingState(
        count=1, oldest=ids[1], newest=ids[1], consumers={"heir": 1}
    )


async def test_a_claim_of_deleted_entries_alone_leaves_nothing_pending(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await pending_entries(store, stream, wire, 3)
    await wire("XTRIM", stream, "MAXLEN", 0)

    assert await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=ids) == []
    assert (await store.pending(stream, "workers")).count == 0


async def test_two_claimers_at_once_get_each_entry_once(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await pending_entries(store, stream, wire, 50)
    await age(wire, stream, "workers", ids)

    claims = [
        store.claim(stream, "workers", consumer, min_idle_ms=HOUR_MS, ids=[each])
        for each in ids
        for consumer in ("one", "two")
    ]
    given = [identifier for claimed in await asyncio.gather(*claims) for identifier in identifiers(claimed)]
    assert sorted(given) == ids


async def test_many_entries_may_be_claimed_and_acknowledged_in_one_call(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await pending_entries(store, stream, wire, 3)
    unknown = [EntryId(1000 + number, 0) for number in range(10_000)]

    assert identifiers(await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=[*ids, *unknown])) == ids
    assert await store.acknowledge(stream, "workers", [*unknown, *ids]) == 3


async def test_claiming_for_a_missing_group_is_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    with pytest.raises(GroupMissing):
        await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=[EntryId(1, 0)])

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.claim(stream, "workers", "heir", min_idle_ms=0, ids=[EntryId(1, 0)])
