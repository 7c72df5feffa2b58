"""Consumer groups: what is delivered, to whom, and until when it is pending."""

from contextlib import nullcontext

import pytest

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.errors import GroupExists, GroupMissing, UnsupportedOperation
from papyra_streams.ports import GroupState, PendingState, StreamStore

from . import needs
from .arranging import fill, identifiers
from .fixtures import IMPATIENT, OpenStore
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest.mark.parametrize(("start", "given"), [("0", 5), ("2-0", 3), ("$", 0)])
async def test_a_group_begins_after_its_start(
    store: StreamStore, stream: str, wire: Wire, start: str, given: int
) -> None:
    await fill(wire, stream, 5)
    await store.create_group(stream, "workers", start=start)

    assert len(await store.read_group(stream, "workers", "me", count=10)) == given


async def test_creating_a_group_makes_a_missing_stream(store: StreamStore, stream: str, wire: Wire) -> None:
    await store.create_group(stream, "workers", start="$")

    assert await wire("TYPE", stream) == b"stream"
    assert await store.length(stream) == 0


async def test_creating_a_group_twice_is_refused(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")

    with pytest.raises(GroupExists):
        await store.create_group(stream, "workers", start="0")


async def test_names_of_groups_and_consumers_need_not_be_ascii(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 1)
    await store.create_group(stream, "für alle", start="0")
    await store.read_group(stream, "für alle", "Zoë \N{SNOWMAN}", count=1)

    assert (await store.pending(stream, "für alle")).consumers == {"Zoë \N{SNOWMAN}": 1}


async def test_new_entries_are_given_oldest_first(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    await store.create_group(stream, "workers", start="0")

    assert identifiers(await store.read_group(stream, "workers", "me", count=3)) == ids[:3]
    assert identifiers(await store.read_group(stream, "workers", "me", count=3)) == ids[3:]
    assert await store.read_group(stream, "workers", "me", count=3) == []


async def test_each_entry_is_given_to_one_consumer_of_a_group(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 4)
    await store.create_group(stream, "workers", start="0")

    assert identifiers(await store.read_group(stream, "workers", "me", count=2)) == ids[:2]
    assert identifiers(await store.read_group(stream, "workers", "you", count=9)) == ids[2:]


async def test_each_group_is_given_every_entry(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)
    for group in ("first", "second"):
        await store.create_group(stream, group, start="0")

        assert identifiers(await store.read_group(stream, group, "me", count=9)) == ids


async def test_own_pending_entries_are_those_after_an_id(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 6)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=4)
    await store.read_group(stream, "workers", "you", count=2)

    assert identifiers(await store.read_group(stream, "workers", "me", count=9, after="0")) == ids[:4]
    assert identifiers(await store.read_group(stream, "workers", "me", count=2, after=str(ids[0]))) == ids[1:3]
    assert identifiers(await store.read_group(stream, "workers", "you", count=9, after="0")) == ids[4:]


async def test_own_pending_entries_are_gone_once_acknowledged(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 2)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=2)
    await store.acknowledge(stream, "workers", [ids[0]])

    assert identifiers(await store.read_group(stream, "workers", "me", count=9, after="0")) == [ids[1]]


async def test_a_pending_entry_that_was_deleted_has_no_fields(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 3)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=3)
    await wire("XDEL", stream, str(ids[0]), str(ids[2]))

    found = await store.read_group(stream, "workers", "me", count=9, after="0")
    assert found == [Entry(ids[0], None), Entry(ids[1], {b"data": b"2"}), Entry(ids[2], None)]


async def test_a_stream_of_which_all_was_deleted_lists_what_is_pending(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    ids = await fill(wire, stream, 2)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=2)
    await wire("XTRIM", stream, "MAXLEN", 0)

    assert await store.read_group(stream, "workers", "me", count=9, after="0") == [Entry(each, None) for each in ids]


@pytest.mark.parametrize("after", [">", "0"])
@pytest.mark.parametrize("block_ms", [None, 100])
async def test_reading_for_a_missing_group_is_refused(
    store: StreamStore, stream: str, wire: Wire, after: str, block_ms: int | None
) -> None:
    await fill(wire, stream, 1)

    with pytest.raises(GroupMissing):
        await store.read_group(stream, "workers", "me", count=1, after=after, block_ms=block_ms)


async def test_reading_for_a_group_of_a_missing_stream_is_refused(store: StreamStore, stream: str) -> None:
    with pytest.raises(GroupMissing):
        await store.read_group(stream, "workers", "me", count=1)


async def test_acknowledge_counts_what_was_pending(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=3)

    assert await store.acknowledge(stream, "workers", ids) == 3
    assert await store.acknowledge(stream, "workers", ids) == 0


async def test_acknowledge_of_unknown_ids_counts_none(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 1)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=1)

    assert await store.acknowledge(stream, "workers", [EntryId(77, 0)]) == 0
    assert await store.acknowledge(stream, "workers", []) == 0
    assert (await store.pending(stream, "workers")).count == 1


async def test_a_missing_group_has_nothing_to_acknowledge(store: StreamStore, stream: str, wire: Wire) -> None:
    assert await store.acknowledge(stream, "workers", [EntryId(1, 0)]) == 0

    await fill(wire, stream, 1)
    assert await store.acknowledge(stream, "workers", [EntryId(1, 0)]) == 0


async def test_pending_summarises_what_is_not_acknowledged(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 6)
    await store.create_group(stream, "workers", start="0")
    await store.read_group(stream, "workers", "me", count=3)
    await store.read_group(stream, "workers", "you", count=2)
    await store.acknowledge(stream, "workers", [ids[0]])

    assert await store.pending(stream, "workers") == PendingState(
        count=4, oldest=ids[1], newest=ids[4], consumers={"me": 2, "you": 2}
    )


async def test_pending_of_an_idle_group_is_empty(store: StreamStore, stream: str) -> None:
    await store.create_group(stream, "workers", start="0")

    assert await store.pending(stream, "workers") == PendingState(count=0, oldest=None, newest=None, consumers={})


async def test_pending_of_a_missing_group_is_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    with pytest.raises(GroupMissing):
        await store.pending(stream, "workers")

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.pending(stream, "workers")


async def test_groups_returns_the_state_of_each(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    await store.create_group(stream, "busy", start="0")
    await store.create_group(stream, "idle", start="0")
    await store.read_group(stream, "busy", "me", count=2)
    await store.read_group(stream, "busy", "you", count=1)

    assert sorted(await store.groups(stream), key=lambda group: group.name) == [
        GroupState(name="busy", consumers=2, pending=3, last_delivered=ids[2]),
        GroupState(name="idle", consumers=0, pending=0, last_delivered=EntryId(0, 0)),
    ]


async def test_a_stream_may_have_no_groups(store: StreamStore, stream: str, wire: Wire) -> None:
    assert await store.groups(stream) == []

    await fill(wire, stream, 1)
    assert await store.groups(stream) == []


async def test_lag_is_refused_exactly_where_the_capability_is_lacking(
    store: StreamStore, stream: str, wire: Wire
) -> None:
    await fill(wire, stream, 1)
    await store.create_group(stream, "workers", start="0")

    can_tell = (await store.capabilities()).lag
    with nullcontext() if can_tell else pytest.raises(UnsupportedOperation):
        await store.lag(stream, "workers")


@needs("lag")
async def test_lag_counts_what_a_group_was_not_given_yet(store: StreamStore, stream: str, wire: Wire) -> None:
    await fill(wire, stream, 5)
    await store.create_group(stream, "workers", start="0")
    assert await store.lag(stream, "workers") == 5

    await store.read_group(stream, "workers", "me", count=2)
    assert await store.lag(stream, "workers") == 3


@needs("lag")
@pytest.mark.usefixtures("store")
async def test_lag_needs_the_right_to_look_at_the_stream_alone(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire
) -> None:
    await fill(private_wire, "stream", 3)
    await private_wire("XGROUP", "CREATE", "stream", "workers", "0")
    rights = ("+xinfo|groups", "+select", *private_server.rights)
    await private_wire("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~stream", *rights)
    reader = open_store(private_server.target_as("reader", SECRET), IMPATIENT)

    assert await reader.lag("stream", "workers") == 3


@needs("lag")
async def test_lag_is_none_while_the_server_cannot_tell(store: StreamStore, stream: str, wire: Wire) -> None:
    ids = await fill(wire, stream, 5)
    await wire("XDEL", stream, str(ids[3]))
    await store.create_group(stream, "workers", start=str(ids[1]))

    assert await store.lag(stream, "workers") is None


@needs("lag")
async def test_lag_of_a_missing_group_is_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    with pytest.raises(GroupMissing):
        await store.lag(stream, "workers")

    await fill(wire, stream, 1)
    with pytest.raises(GroupMissing):
        await store.lag(stream, "workers")
