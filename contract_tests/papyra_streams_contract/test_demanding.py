"""What the groups of a stream still need, which groups no longer count, and references to what is gone."""

import asyncio
from contextlib import aclosing

import pytest

from papyra_streams import GroupMissing
from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import Abandonment, BadEntry, Demand, StreamStore, Timeouts, TrimOutcome

from .arranging import eventually, fill, join, member, stored, trim_all
from .fixtures import MakePrivateServer, OpenStore
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

BEGINNING = EntryId(0, 0)
LARGEST = EntryId(2**64 - 1, 2**64 - 1)


async def demand_of(store: StreamStore, stream: str, group: str = "workers") -> Demand:
    """Return what a group needs."""
    return next(each for each in (await store.demands(stream)).groups if each.group == group)


# -- demands


async def test_a_group_that_was_given_nothing_needs_everything(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)
    await store.create_group(stream, "workers", start="0")

    demand = await demand_of(store, stream)
    assert demand == Demand(group="workers", needs=ids[0], consumer=None, silence_ms=None)


async def test_a_group_needs_its_oldest_pending_entry_from_who_holds_it(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 4)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "first", count=1)
    await store.read_group(stream, "workers", "second", count=2)
    await store.acknowledge(stream, "workers", ids[:1])

    demand = await demand_of(store, stream)
    assert (demand.needs, demand.consumer) == (ids[1], "second")
    assert demand.silence_ms is not None
    assert 0 <= demand.silence_ms < 60_000


async def test_a_group_that_has_had_everything_needs_nothing(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 2)
    await store.create_group(stream, "workers", start="$")

    assert (await demand_of(store, stream)).needs is None


async def test_what_is_pending_and_gone_is_needed_by_nobody(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 4)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=4)
    await wire("XDEL", stream, str(ids[0]), str(ids[1]))

    assert (await demand_of(store, stream)).needs == ids[2]
    assert (await store.pending(stream, "workers")).count == 4


async def test_behind_very_many_that_are_gone_there_is_something_it_needs(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 1200)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=1200)
    await wire("XTRIM", stream, "MINID", str(ids[1000]))

    demand = await demand_of(store, stream)
    assert demand.needs is not None
    assert demand.needs <= ids[1000]
    assert demand.consumer == "me"


async def test_a_missing_stream_has_no_groups(store: StreamStore, stream: str) -> None:
    demands = await store.demands(stream)

    assert demands.groups == []
    assert demands.moment_ms > 1e12


# -- groups that do not count


class Trims:
    """Trims a stream, for which groups do not count that nobody was heard of in for so long."""

    def __init__(self, store: StreamStore, stream: str, keep_from: EntryId, after_ms: int) -> None:
        self._store = store
        self._stream = stream
        self._keep_from = keep_from
        self.abandonment = Abandonment(after_ms=after_ms, notes=f"unattended:{{{stream}}}")
        self.outcome = TrimOutcome(removed=0, obstacle=None)

    async def once(self) -> TrimOutcome:
        """Trim to the end."""
        return await trim_all(self._store, self._stream, keep_from=self._keep_from, abandonment=self.abandonment)

    async def until_abandoned(self, group: str) -> None:
        """Trim twice, and wait until the group would no longer count in the next trim."""
        await self.once()
        await asyncio.sleep(self.abandonment.after_ms * 0.6 / 1000)
        await self.once()

        async def is_abandoned() -> bool:
            return (await self.demand(group)).is_abandoned

        await eventually(is_abandoned)

    async def remove_something(self) -> bool:
        """Trim, and tell whether something went."""
        self.outcome = await self.once()
        return self.outcome.removed > 0

    async def demand(self, group: str) -> Demand:
        """Return what a group needs."""
        demands = await self._store.demands(self._stream, abandonment=self.abandonment)
        return next(each for each in demands.groups if each.group == group)


async def test_a_group_nobody_is_heard_of_in_no_longer_holds_a_trim_back(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 2000)
    await store.create_group(stream, "dead", start="0")
    await store.read_group(stream, "dead", "me", count=2000)
    trims = Trims(store, stream, ids[1900], 200)

    assert (await trims.once()).removed == 0
    assert not (await trims.demand("dead")).is_abandoned
    await eventually(trims.remove_something)
    assert (trims.outcome.removed, trims.outcome.obstacle) == (1900, None)
    assert trims.outcome.abandoned == {"dead"}
    pending = await store.pending(stream, "dead")
    assert (pending.count, pending.oldest) == (100, ids[1900])


async def test_it_is_foreseen_that_a_group_will_not_count(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)
    await store.create_group(stream, "dead", start="0")
    trims = Trims(store, stream, ids[2], 1500)
    await trims.until_abandoned("dead")

    assert await store.length(stream) == 3
    assert (await trims.once()).removed == 2


async def test_what_a_living_group_keeps_is_not_taken_from_an_abandoned_one(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 1000)
    for group in ("dead", "living"):
        await store.create_group(stream, group, start="0")
    await store.read_group(stream, "dead", "me", count=500)
    await store.read_group(stream, "living", "me", count=10)
    trims = Trims(store, stream, ids[900], 1000)

    async def is_foreseen() -> bool:
        await store.claim(stream, "living", "me", min_idle_ms=0, ids=ids[:1])
        assert (await trims.once()).removed == 0
        return (await trims.demand("dead")).is_abandoned

    await eventually(is_foreseen)
    outcome = await trims.once()
    assert (outcome.removed, outcome.abandoned) == (0, frozenset())
    assert (await store.pending(stream, "dead")).count == 500


@pytest.mark.parametrize("sign", ["read", "claim", "acknowledgement"])
async def test_a_sign_of_life_between_two_trims_begins_anew(
    store: StreamStore, stream: str, wire: Wire, sign: str
) -> None:
    ids = await fill(wire, stream, 6)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=2)
    trims = Trims(store, stream, ids[5], 1500)
    await trims.until_abandoned("workers")
    if sign == "read":
        await store.read_group(stream, "workers", "me", count=1)
    elif sign == "claim":
        await store.claim(stream, "workers", "other", min_idle_ms=0, ids=ids[:1])
    else:
        await store.acknowledge(stream, "workers", ids[:1])
    # The acknowledged entry may go; what is still needed may not.
    assert (await trims.once()).removed == (1 if sign == "acknowledgement" else 0)
    assert not (await trims.demand("workers")).is_abandoned


async def test_trims_that_are_too_far_apart_begin_anew(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)
    await store.create_group(stream, "dead", start="0")
    trims = Trims(store, stream, ids[2], 100)
    await trims.once()
    await asyncio.sleep(0.15)

    assert (await trims.once()).removed == 0


async def test_who_only_let_go_of_entries_is_no_consumer(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 4)
    one = member(stream)
    await join(store, one)
    await store.take([one], count=1)
    await store.release(one, {ids[0]: 0}, to="papyra-streams:released", counted=False)
    await wire("XGROUP", "DELCONSUMER", stream, "workers", "me")

    assert (await demand_of(store, stream)).silence_ms is None


async def test_a_group_that_is_made_anew_or_has_caught_up_is_not_remembered(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 4)
    await store.create_group(stream, "workers", start="0")
    await store.create_group(stream, "others", start="0")
    trims = Trims(store, stream, ids[3], 60_000)
    await trims.once()
    assert await wire("HLEN", trims.abandonment.notes) == 2
    await wire("XGROUP", "DESTROY", stream, "workers")
    await store.read_group(stream, "others", "me", count=4)
    await store.acknowledge(stream, "others", ids)
    await trims.once()

    assert await wire("EXISTS", trims.abandonment.notes) == 0


async def test_a_server_that_is_full_is_trimmed_all_the_same(
    open_store: OpenStore, make_private_server: MakePrivateServer
) -> None:
    server = make_private_server(settings={"maxmemory-policy": "noeviction"})
    store = open_store(server.target, Timeouts())
    async with aclosing(Wire(server.endpoint)) as wire:
        ids = await fill(wire, "s", 100)
        await store.create_group("s", "workers", start=str(ids[49]))
        await wire("CONFIG", "SET", "maxmemory", 1)
        outcome = await Trims(store, "s", ids[90], 60_000).once()

    assert outcome.removed == 50


# -- references to what is gone


async def test_references_to_what_is_gone_are_found(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=5)
    await wire("XDEL", stream, str(ids[1]), str(ids[3]))

    page = await store.dangling(stream, "workers", count=100, after=BEGINNING, forget=False)
    assert (page.ids, page.examined, page.last) == ([ids[1], ids[3]], 5, None)
    assert (await store.pending(stream, "workers")).count == 5


async def test_they_are_taken_off_the_list_page_by_page(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 1000)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=1000)
    await wire("XTRIM", stream, "MINID", str(ids[700]))

    found: list[EntryId] = []
    after: EntryId | None = BEGINNING
    while after is not None:
        page = await store.dangling(stream, "workers", count=1000, after=after, forget=True)
        found += page.ids
        after = page.last
    assert found == ids[:700]
    assert (await store.pending(stream, "workers")).oldest == ids[700]


async def test_no_more_of_them_are_looked_at_than_asked_for(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 10)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=10)
    await wire("XDEL", stream, *map(str, ids))

    page = await store.dangling(stream, "workers", count=3, after=BEGINNING, forget=True)
    assert (page.ids, page.examined, page.last) == (ids[:3], 3, ids[2])
    assert (await store.pending(stream, "workers")).count == 7


async def test_nothing_is_gone_where_nothing_is_pending(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 1)
    await store.create_group(stream, "workers", start="0")

    for after in (BEGINNING, LARGEST):
        assert (await store.dangling(stream, "workers", count=100, after=after, forget=True)).ids in ([], ())


async def test_references_of_a_missing_group_are_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    with pytest.raises(GroupMissing):
        await store.dangling(stream, "workers", count=100, after=BEGINNING, forget=False)
    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.dangling(stream, "workers", count=100, after=BEGINNING, forget=True)


# -- what recovery takes out says whom it stuck with


async def test_a_retired_entry_says_which_group_was_given_it_most_often(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    (bad,) = await fill(wire, stream, 1)
    for group in ("once", "thrice"):
        await store.create_group(stream, group, start="0")
        await store.read_group(stream, group, "me", count=1)
    for _ in range(2):
        await store.claim(stream, "thrice", "me", min_idle_ms=0, ids=[bad])
    quarantine = f"quarantine:{{{stream}}}"
    await store.retire(stream, [BadEntry(bad, "no use")], quarantine=quarantine, moment=1.5)
    (kept,) = await store.quarantined(quarantine, count=5, after=BEGINNING)
    assert dict(kept.fields)[b"group"] == b"thrice"
    assert dict(kept.fields)[b"attempts"] == b"3"
    assert await stored(wire, stream) == []
