"""Removing old entries, but none that a group still needs."""

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import StreamStore, TrimOutcome

from .arranging import fill, mark, stored, trim_all
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


def held(outcome: TrimOutcome) -> tuple[str, EntryId, str | None] | None:
    """Tell which group held a trim back, with which entry, and who holds that."""
    obstacle = outcome.obstacle
    return (obstacle.group, obstacle.needs, obstacle.consumer) if obstacle else None


async def test_trim_removes_what_is_older_than_the_entry_to_keep(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 10)

    assert await trim_all(store, stream, keep_from=ids[6], approximate=False) == TrimOutcome(removed=6, obstacle=None)
    assert await stored(wire, stream) == ids[6:]


async def test_trim_removes_nothing_twice(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 4)
    await trim_all(store, stream, keep_from=ids[2], approximate=False)

    assert await trim_all(store, stream, keep_from=ids[2], approximate=False) == TrimOutcome(removed=0, obstacle=None)


async def test_a_stream_outlives_the_trim_of_all_it_had(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 3)

    assert await trim_all(store, stream, keep_from=EntryId(99, 0), approximate=False) == TrimOutcome(
        removed=3, obstacle=None
    )
    assert await wire("EXISTS", stream) == 1


async def test_an_entry_that_is_not_acknowledged_is_kept(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 6)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=6)
    await store.acknowledge(stream, "workers", [*ids[:2], *ids[3:]])

    outcome = await trim_all(store, stream, keep_from=ids[5], approximate=False)
    assert (outcome.removed, held(outcome)) == (2, ("workers", ids[2], "me"))
    assert await stored(wire, stream) == ids[2:]


async def test_an_entry_that_is_not_delivered_is_kept(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 6)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=2)
    await store.acknowledge(stream, "workers", ids[:2])

    outcome = await trim_all(store, stream, keep_from=ids[5], approximate=False)
    assert (outcome.removed, held(outcome)) == (2, ("workers", ids[2], None))
    assert await stored(wire, stream) == ids[2:]


async def test_a_group_that_was_given_nothing_keeps_everything(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)
    await store.create_group(stream, "workers", start="0")

    outcome = await trim_all(store, stream, keep_from=EntryId(99, 0), approximate=False)
    assert (outcome.removed, held(outcome)) == (0, ("workers", ids[0], None))


async def test_a_group_that_is_caught_up_holds_nothing_back(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=3)
    await store.acknowledge(stream, "workers", ids)

    assert await trim_all(store, stream, keep_from=EntryId(99, 0), approximate=False) == TrimOutcome(
        removed=3, obstacle=None
    )


async def test_a_group_that_needs_only_what_is_kept_anyway_is_no_obstacle(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 4)
    await store.create_group(stream, "workers", start=str(ids[1]))

    assert await trim_all(store, stream, keep_from=ids[2], approximate=False) == TrimOutcome(removed=2, obstacle=None)


@pytest.mark.parametrize("slower", ["first", "second"])
async def test_the_group_that_is_furthest_behind_is_the_obstacle(
    store: StreamStore, stream: str, wire: Wire, slower: str
) -> None:
    ids = await fill(wire, stream, 6)
    for group in ("first", "second"):
        given = 2 if group == slower else 4
        await store.create_group(stream, group, start="0")
        await store.read_group(stream, group, "me", count=given)
        await store.acknowledge(stream, group, ids[:given])

    outcome = await trim_all(store, stream, keep_from=ids[5], approximate=False)
    assert (outcome.removed, held(outcome)) == (2, (slower, ids[2], None))


async def test_ids_are_compared_as_64_bit_integers(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = [EntryId(2**53, 0), EntryId(2**53 + 1, 2**64 - 2), EntryId(2**53 + 1, 2**64 - 1), EntryId(10**19, 0)]
    for each in ids:
        await wire("XADD", stream, str(each), "data", "x")
    await store.create_group(stream, "workers", start=str(ids[0]))

    outcome = await trim_all(store, stream, keep_from=ids[3], approximate=False)
    assert (outcome.removed, held(outcome)) == (1, ("workers", ids[1], None))


async def test_an_approximate_trim_may_keep_more_but_never_less(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"x"] * 1000, mark=mark(stream, 1))
    ids = await stored(wire, stream)

    outcome = await trim_all(store, stream, keep_from=ids[950], approximate=True)
    assert outcome.obstacle is None
    assert 0 < outcome.removed <= 950
    assert await stored(wire, stream) == ids[outcome.removed :]


async def test_an_approximate_trim_keeps_what_a_group_needs(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"x"] * 1000, mark=mark(stream, 1))
    ids = await stored(wire, stream)
    await store.create_group(stream, "workers", start=str(ids[499]))

    outcome = await trim_all(store, stream, keep_from=ids[950], approximate=True)
    assert held(outcome) == ("workers", ids[500], None)
    assert (await stored(wire, stream))[-500:] == ids[500:]


async def test_an_exact_trim_of_a_long_stream_is_exact(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.append(stream, [b"x"] * 20_000, mark=mark(stream, 1))
    ids = await stored(wire, stream)

    assert (await trim_all(store, stream, keep_from=ids[19_990], approximate=False)).removed == 19_990


@pytest.mark.parametrize("approximate", [False, True])
async def test_a_missing_stream_has_nothing_to_trim(
    store: StreamStore, stream: str, wire: Wire, *, approximate: bool
) -> None:
    outcome = await trim_all(store, stream, keep_from=EntryId(99, 0), approximate=approximate)

    assert outcome == TrimOutcome(removed=0, obstacle=None)
    assert await wire("EXISTS", stream) == 0


@pytest.mark.parametrize("approximate", [False, True])
async def test_a_deleted_entry_that_is_still_pending_holds_nothing_back(
    store: StreamStore, stream: str, wire: Wire, *, approximate: bool
) -> None:
    await store.append(stream, [b"x"] * 3000, mark=mark(stream, 1))
    ids = await stored(wire, stream)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=3000)
    await store.acknowledge(stream, "workers", ids[2100:])
    await wire("XDEL", stream, *map(str, ids[:2100]))

    outcome = await trim_all(store, stream, keep_from=ids[2900], approximate=approximate)
    assert outcome.obstacle is None
    assert outcome.removed > 0
    assert (await store.pending(stream, "workers")).count == 0
