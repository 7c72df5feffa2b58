"""Writing a stream anew beside itself, and swapping it in."""

import asyncio

import pytest

from papyra_streams import Rejected
from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import StreamStore

from .arranging import eventually, fields_of, fill, identifiers, mark, stored
from .wire import Reply, Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest.fixture
def copy(stream: str) -> str:
    """Return the key of a copy."""
    return f"copy:{{{stream}}}"


@pytest.fixture
def free(stream: str) -> str:
    """Return a key that is not used."""
    return f"former:{{{stream}}}"


async def copied(store: StreamStore, stream: str, copy: str, *, is_begun: bool = False) -> int:
    """Copy everything, and return how many entries that were."""
    while step := await store.copy_entries(stream, copy, is_begun=is_begun):
        is_begun = True
        if step.is_complete:
            return step.copied
    raise AssertionError("the copy is gone")


async def rebuilt(store: StreamStore, stream: str, copy: str, free: str) -> None:
    """Write the stream anew while nobody disturbs."""
    await copied(store, stream, copy)
    assert await store.swap(stream, copy, free=free) == "swapped"


async def dig_holes(wire: Wire, stream: str, ids: list[EntryId]) -> list[EntryId]:
    """Delete every other entry, and return those that are left."""
    for first in range(0, len(ids), 1000):
        await wire("XDEL", stream, *map(str, ids[first : first + 1000 : 2]))
    return ids[1::2]


# -- what is kept


async def test_entries_keep_their_ids_fields_and_order(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 1500)
    await wire("XADD", stream, "2000-7", b"\xff\r\n", bytes(range(256)), "same", "one", "same", b"\x00", "", "")
    left = [*await dig_holes(wire, stream, ids), EntryId(2000, 7)]
    before = await fields_of(wire, stream)
    await rebuilt(store, stream, copy, free)

    assert await stored(wire, stream) == left
    assert await fields_of(wire, stream) == before
    assert await wire("EXISTS", copy, free) == 0


async def test_groups_consumers_and_pending_entries_are_kept(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 50)
    await store.create_group(stream, "workers", start="0")
    await store.create_group(stream, "later", start="7-0")
    await store.create_group(stream, "new", start="$")
    await store.read_group(stream, "workers", "first", count=20)
    await store.read_group(stream, "workers", "second", count=5)
    await store.read_group(stream, "workers", "idle", count=1)
    await store.acknowledge(stream, "workers", [*ids[3:9], ids[25]])
    await wire("XCLAIM", stream, "workers", "first", 0, "1-0", "IDLE", 5_000_000, "RETRYCOUNT", 7)
    await wire("XDEL", stream, "40-0", "41-0")
    before, groups = await _pending(wire, stream, "workers"), await store.groups(stream)
    consumers = {state.name for state in await store.consumers(stream, "workers")}
    await rebuilt(store, stream, copy, free)

    after = await _pending(wire, stream, "workers")
    assert [row[:2] + row[3:] for row in after] == [row[:2] + row[3:] for row in before]
    assert all(0 <= late[2] - early[2] < 10_000 for early, late in zip(before, after, strict=True))
    assert await store.groups(stream) == groups
    assert {state.name for state in await store.consumers(stream, "workers")} == consumers


async def _pending(wire: Wire, stream: str, group: str) -> list[tuple[Reply, Reply, int, Reply]]:
    rows: list[tuple[Reply, Reply, int, Reply]] = []
    for row in await wire.rows("XPENDING", stream, group, "-", "+", 1000):
        match row:
            case [identifier, consumer, int(idle), deliveries]:
                rows.append((identifier, consumer, idle, deliveries))
    return rows


async def test_the_next_id_follows_the_last_one_though_that_is_deleted(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    await fill(wire, stream, 3)
    future = EntryId(9_999_999_999_999, 5)
    await wire("XADD", stream, str(future), "data", "x")
    await wire("XDEL", stream, str(future))
    await rebuilt(store, stream, copy, free)

    await store.append(stream, [b"next"], mark=mark(stream, 1))
    (newest,) = await store.newest(stream, count=1)
    assert newest.id == future.successor()


@pytest.mark.needs("lag")
async def test_the_lag_is_as_before(store: StreamStore, stream: str, copy: str, free: str, wire: Wire) -> None:
    await fill(wire, stream, 100)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=30)
    await rebuilt(store, stream, copy, free)

    assert await store.lag(stream, "workers") == 70


async def test_a_lifetime_is_kept_and_so_is_none(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    await fill(wire, stream, 3)
    await rebuilt(store, stream, copy, free)
    assert await wire("TTL", stream) == -1
    await wire("EXPIRE", stream, 1000)
    await rebuilt(store, stream, copy, free)
    assert 990 < await wire.number("TTL", stream) <= 1000


async def test_the_memory_of_deleted_entries_is_free_again(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    await store.append(stream, [b"x" * 300] * 20_000, mark=mark(stream, 1))
    ids = await stored(wire, stream)
    for first in range(0, len(ids), 1000):
        await wire("XDEL", stream, *[str(each) for n, each in enumerate(ids[first : first + 1000]) if n % 10])
    before = await store.memory(stream)
    await rebuilt(store, stream, copy, free)
    after = await store.memory(stream)

    assert before is not None
    assert after is not None
    assert after < before / 3


# -- what happens meanwhile


async def test_what_is_written_after_the_copying_is_in_it(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 100)
    await copied(store, stream, copy)
    await wire("XADD", stream, "500-0", "data", "late")

    assert await store.swap(stream, copy, free=free) == "swapped"
    assert await stored(wire, stream) == [*ids, EntryId(500, 0)]


async def test_a_copy_that_is_far_behind_is_not_swapped(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    await fill(wire, stream, 3)
    await copied(store, stream, copy)
    await store.append(stream, [b"x"] * 1000, mark=mark(stream, 1))

    assert await store.swap(stream, copy, free=free) == "behind"
    assert await store.length(stream) == 1003
    await copied(store, stream, copy, is_begun=True)
    assert await store.swap(stream, copy, free=free) == "swapped"
    assert await store.length(stream) == 1003


@pytest.mark.parametrize("lost", [slice(0, 40), slice(100, 900, 3), slice(990, 1000), slice(0, 1000)])
async def test_what_was_deleted_after_the_copying_is_not_in_it(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire, lost: slice
) -> None:
    ids = await fill(wire, stream, 1000)
    await store.create_group(stream, "workers", start="0")
    await copied(store, stream, copy)
    await wire("XDEL", stream, *map(str, ids[lost]))

    assert await store.swap(stream, copy, free=free) == "differs"
    after: EntryId | bool | None = None
    while not isinstance(after, bool):
        after = await store.compare(stream, copy, after=after)
        assert after is not None
    assert after is True
    assert await store.swap(stream, copy, free=free) == "swapped"
    del ids[lost]
    assert await stored(wire, stream) == ids
    assert [group.name for group in await store.groups(stream)] == ["workers"]


async def test_a_reader_that_waits_gets_what_is_written_after_the_swap(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    await fill(wire, stream, 3)
    await store.create_group(stream, "workers", start="$")
    reading = asyncio.create_task(store.read_group(stream, "workers", "me", count=5, block_ms=5000))

    async def waits() -> bool:
        listed = await wire.everywhere("CLIENT", "LIST")
        return any(isinstance(clients, bytes) and b" cmd=xreadgroup " in clients for clients in listed)

    await eventually(waits)
    await rebuilt(store, stream, copy, free)
    await wire("XADD", stream, "77-0", "data", "late")

    assert identifiers(await reading) == [EntryId(77, 0)]


async def test_two_may_work_on_one_copy(store: StreamStore, stream: str, copy: str, free: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3000)
    counts = await asyncio.gather(copied(store, stream, copy), copied(store, stream, copy))

    assert list(counts) == [3000, 3000]
    outcomes = await asyncio.gather(store.swap(stream, copy, free=free), store.swap(stream, copy, free=free))
    assert sorted(outcomes, key=str) == [None, "swapped"]
    assert await stored(wire, stream) == ids


async def test_a_copy_that_was_begun_is_gone_on_with(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 1000)
    step = await store.copy_entries(stream, copy, is_begun=False)
    assert step
    assert 0 < step.copied < step.records == 1000

    assert await copied(store, stream, copy) == 1000
    assert await store.swap(stream, copy, free=free) == "swapped"
    assert await stored(wire, stream) == ids


async def test_nobody_works_on_a_copy_for_ever(store: StreamStore, stream: str, copy: str, wire: Wire) -> None:
    await fill(wire, stream, 3)
    await copied(store, stream, copy)

    assert 0 < await wire.number("TTL", copy) <= 3600


# -- what cannot be


async def test_a_copy_of_another_stream_of_this_name_is_of_no_use(
    store: StreamStore, stream: str, copy: str, wire: Wire
) -> None:
    await fill(wire, stream, 2)
    await wire("XADD", stream, "9-0", "data", "x")
    await copied(store, stream, copy)
    await wire("DEL", stream)
    await fill(wire, stream, 5)

    assert await store.compare(stream, copy, after=None) is False


async def test_a_stream_or_a_copy_that_is_gone_is_told(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    assert await store.copy_entries(stream, copy, is_begun=False) is None
    await fill(wire, stream, 3)
    assert await store.copy_entries(stream, copy, is_begun=True) is None
    assert await store.compare(stream, copy, after=None) is None
    assert await store.swap(stream, copy, free=free) is None
    assert await store.length(stream) == 3


async def test_an_entry_too_wide_for_a_script_is_refused(
    store: StreamStore, stream: str, copy: str, wire: Wire
) -> None:
    await wire("XADD", stream, "1-0", "data", "x")
    await wire("XADD", stream, "2-0", *[str(number) for number in range(9000)])

    with pytest.raises(Rejected, match="2-0 has too many fields"):
        await store.copy_entries(stream, copy, is_begun=False)
    assert await wire.number("PTTL", copy) > 0


async def test_very_many_pending_entries_are_left_alone(
    store: StreamStore, stream: str, copy: str, free: str, wire: Wire
) -> None:
    await store.append(stream, [b"x"] * 10_001, mark=mark(stream, 1))
    await store.create_group(stream, "workers", start="0")
    await wire("XREADGROUP", "GROUP", "workers", "me", "COUNT", 10_001, "STREAMS", stream, ">")
    await copied(store, stream, copy)

    assert await store.swap(stream, copy, free=free) == "pending"
    assert (await store.pending(stream, "workers")).count == 10_001


async def test_a_copy_can_be_given_up(store: StreamStore, stream: str, copy: str, wire: Wire) -> None:
    await fill(wire, stream, 3)
    await copied(store, stream, copy)
    await store.discard(copy)

    assert await wire("EXISTS", copy) == 0
