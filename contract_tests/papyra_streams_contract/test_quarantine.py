"""What is in quarantine: how it is listed, put back and dropped."""

from typing import Any

import anyio
import pytest
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams import (
    InvalidEntryId,
    InvalidValue,
    QuarantinedEntry,
    RedisStreamsPersistence,
    Rejected,
    ReplayReport,
    SubscriptionConfig,
    UnknownKind,
)
from papyra_streams.application.members import member
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import RELEASED
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.ports import DeadEntry, StreamStore

from .arranging import fields_of, payloads, stored
from .backends import WORKERS, OpenBackend, add_raw, event, numbers, record_events
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

MOMENT = 1_750_000_000.25
QUARANTINE_MODE = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.QUARANTINE)


async def give_up(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, count: int, *, group: str = "workers"
) -> list[EntryId]:
    """Record events, have a group take them and give them all up; return their ids in the stream."""
    keys = backend.config.keyspace()
    await record_events(backend, count)
    ids = await stored(wire, keys.stream(Partition(EVENTS)))
    await backend.ensure_consumer_group(kind="events", group=group)
    await store.read_group(keys.stream(Partition(EVENTS)), group, "me", count=count)
    dead = [DeadEntry(id=each, attempts=5, reason="no use: ü", error="ValueError: no") for each in ids]
    await store.bury(
        member(keys, Partition(EVENTS), group, "me"), dead, quarantine=keys.quarantine(Partition(EVENTS)), moment=MOMENT
    )
    return ids


async def listed_ids(backend: RedisStreamsPersistence, **asked: Any) -> list[str]:
    """Return the ids of what is in quarantine."""
    return [entry.id for entry in await backend.quarantine_list(kind="events", **asked)]


@pytest.fixture
def quarantine(backend: RedisStreamsPersistence) -> str:
    """Return the key of the quarantine of events."""
    return backend.config.keyspace().quarantine(Partition(EVENTS))


# -- listing


async def test_what_a_group_gave_up_is_listed_with_who_and_why(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str, quarantine: str
) -> None:
    ids = await give_up(backend, store, wire, 2)
    data = payloads(await store.newest(stream, count=2))[::-1]

    assert await backend.quarantine_list(kind="events") == tuple(
        QuarantinedEntry(
            id=str(own),
            stream=stream,
            source_id=str(source),
            reason="no use: ü",
            quarantined_at=MOMENT,
            group="workers",
            attempts=5,
            error="ValueError: no",
            fields=((b"data", payload),),
        )
        for own, source, payload in zip(await stored(wire, quarantine), ids, data, strict=True)
    )


async def test_what_a_recovery_moved_there_is_listed_too(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    bad = await add_raw(wire, stream, b"no json \xff")
    await backend.recover(QUARANTINE_MODE)

    (found,) = await backend.quarantine_list(kind="events")
    assert (found.source_id, found.reason, found.data) == (bad, "not UTF-8", b"no json \xff")
    assert (found.group, found.attempts, found.error) == ("", 0, "")
    assert found.quarantined_at > MOMENT


@pytest.mark.parametrize("size", [5, 200, 70_000])
async def test_the_data_of_a_very_wide_entry_is_listed_byte_for_byte(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, size: int
) -> None:
    data = b"\xff" * size
    await wire("XADD", stream, "*", *(f"{number}" for number in range(6000)), "data", data)
    await backend.recover(QUARANTINE_MODE)

    (found,) = await backend.quarantine_list(kind="events")
    assert found.data == data


async def test_what_somebody_else_put_there_is_listed_as_far_as_it_goes(
    backend: RedisStreamsPersistence, wire: Wire, quarantine: str
) -> None:
    await wire("XADD", quarantine, "1500-0", "note", "mine")
    await wire("XADD", quarantine, "1500-1", "id", "no id", "timestamp", "now", "attempts", "x", "group", b"\xff")
    await wire("XADD", quarantine, "1500-2", "fields", b"\x95\xa1")

    found = await backend.quarantine_list(kind="events")
    assert [(entry.id, entry.source_id, entry.group) for entry in found] == [
        ("1500-0", "", ""),
        ("1500-1", "no id", "\N{REPLACEMENT CHARACTER}"),
        ("1500-2", "", ""),
    ]
    assert {(entry.quarantined_at, entry.attempts, entry.data) for entry in found} == {(1.5, 0, None)}


async def test_an_empty_quarantine_is_listed_as_empty(
    backend: RedisStreamsPersistence, wire: Wire, quarantine: str
) -> None:
    assert await backend.quarantine_list(kind="events") == ()
    assert await wire("EXISTS", quarantine) == 0


async def test_a_long_quarantine_is_listed_in_pages(
    backend: RedisStreamsPersistence, wire: Wire, quarantine: str
) -> None:
    ids = [f"{number}-0" for number in range(1, 2502)]
    for each in ids:
        await wire("XADD", quarantine, each, "reason", each)

    assert await listed_ids(backend) == ids[:100]
    assert await listed_ids(backend, limit=None) == ids
    assert await listed_ids(backend, limit=1001) == ids[:1001]
    assert await listed_ids(backend, limit=1500, after=ids[1499]) == ids[1500:]
    assert await listed_ids(backend, limit=2, after="7") == ids[7:9]
    assert await listed_ids(backend, after=ids[-1]) == []


async def test_each_kind_has_a_quarantine_of_its_own(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire
) -> None:
    await give_up(backend, store, wire, 1)

    assert await backend.quarantine_list(kind="audits") == ()
    assert len(await backend.quarantine_list(kind="events")) == 1


async def test_a_quarantine_of_another_name_is_served_alike(
    open_backend: OpenBackend, store: StreamStore, wire: Wire, namespace: str
) -> None:
    backend = open_backend(quarantine_prefix=f"{namespace}:aside")
    (source,) = await give_up(backend, store, wire, 1)

    ids = await listed_ids(backend)
    assert await backend.quarantine_replay(kind="events", ids=ids) == ReplayReport(pending=tuple(ids))
    assert [
        entry.id
        for entry in await backend.claim(
            "events", group="workers", consumer="me", min_idle_ms=0, entry_ids=[str(source)]
        )
    ] == [str(source)]


# -- replaying


async def test_a_group_gets_again_what_it_gave_up_and_no_other_does(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str
) -> None:
    sources = await give_up(backend, store, wire, 2)
    await backend.ensure_consumer_group(kind="events", group="others", start_id="$")
    first, second = await listed_ids(backend)

    assert await backend.quarantine_replay(kind="events", ids=[second]) == ReplayReport(pending=(second,))
    assert await listed_ids(backend) == [first]
    assert (await backend.pending_summary(kind="events", group="workers")).consumers == {RELEASED: 1}
    assert (await backend.pending_summary(kind="events", group="others")).count == 0
    assert await store.read_group(stream, "others", "me", count=9) == []
    worker = member(backend.config.keyspace(), Partition(EVENTS), "workers", "me")
    (taken,) = await store.take_stuck(worker, count=9, min_idle_ms=3_600_000, pause_ms=1)
    assert (taken.entry.id, taken.attempt) == (sources[1], 1)
    assert await numbers(backend) == [0, 1]


@pytest.mark.parametrize("group", ["workers", "two words: für {alle}"])
async def test_a_group_that_is_lost_after_a_replay_gets_the_entry_again(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str, group: str
) -> None:
    _, source, last = await give_up(backend, store, wire, 3, group=group)
    _, own, _ = await listed_ids(backend)
    await backend.quarantine_replay(kind="events", ids=[own])
    await wire("XGROUP", "DESTROY", stream, group)

    again: list[str] = []
    with anyio.fail_after(5):
        async with backend.subscription(kind="events", cfg=SubscriptionConfig(group=group)) as subscription:
            async for delivery in subscription:
                async with delivery:
                    again.append(delivery.id)
                if len(again) == 2:
                    subscription.stop()
    assert again == [str(source), str(last)]


async def test_what_the_stream_no_longer_has_is_appended_anew_and_marked(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str
) -> None:
    (source,) = await give_up(backend, store, wire, 1)
    await wire("XDEL", stream, str(source))
    (own,) = await listed_ids(backend)

    report = await backend.quarantine_replay(kind="events", ids=[own])
    (new,) = await stored(wire, stream)
    assert report == ReplayReport(appended={own: str(new)})
    assert await backend.list_events() == (event(0),)
    (fields,) = await fields_of(wire, stream)
    assert fields[fields.index(b"replay_of") + 1] == str(source).encode()
    assert [entry.id for entry in await backend.consume(kind="events", cfg=WORKERS)] == [str(new)]
    assert await listed_ids(backend) == []


async def test_what_a_group_gave_up_that_is_gone_is_appended_anew(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str
) -> None:
    (source,) = await give_up(backend, store, wire, 1)
    await wire("XGROUP", "DESTROY", stream, "workers")
    (own,) = await listed_ids(backend)

    report = await backend.quarantine_replay(kind="events", ids=[own])
    assert [*report.appended] == [own]
    assert await stored(wire, stream) == [source, EntryId.parse(report.appended[own])]


async def test_what_a_recovery_moved_there_comes_back_byte_for_byte(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    bad = await add_raw(wire, stream, b"no json \xff")
    await backend.recover(QUARANTINE_MODE)
    (own,) = await listed_ids(backend)

    report = await backend.quarantine_replay(kind="events", ids=[own])
    assert [*report.appended] == [own]
    (fields,) = await fields_of(wire, stream)
    assert dict(zip(fields[::2], fields[1::2], strict=True)) == {b"data": b"no json \xff", b"replay_of": bad.encode()}


async def test_what_was_replayed_is_missing_the_second_time(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str
) -> None:
    await give_up(backend, store, wire, 2)
    ids = await listed_ids(backend)

    assert await backend.quarantine_replay(kind="events", ids=[*ids, "1-0"]) == ReplayReport(
        pending=tuple(ids), missing=("1-0",)
    )
    assert await backend.quarantine_replay(kind="events", ids=ids) == ReplayReport(missing=tuple(ids))
    assert await wire.number("XLEN", stream) == 2
    assert (await backend.pending_summary(kind="events", group="workers")).count == 2


async def test_an_id_that_is_named_twice_is_replayed_once(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire
) -> None:
    await give_up(backend, store, wire, 1)
    (own,) = await listed_ids(backend)

    assert await backend.quarantine_replay(kind="events", ids=[own, own]) == ReplayReport(pending=(own,))


async def test_operators_who_replay_at_once_put_each_entry_back_once(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str
) -> None:
    await give_up(backend, store, wire, 20)
    await wire("XTRIM", stream, "MAXLEN", 0)
    ids = await listed_ids(backend)
    reports: list[ReplayReport] = []

    async def replay() -> None:
        reports.append(await backend.quarantine_replay(kind="events", ids=ids))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(replay)
    assert sorted(own for report in reports for own in report.appended) == sorted(ids)
    assert await wire.number("XLEN", stream) == 20
    assert sorted(await numbers(backend)) == list(range(20))


async def test_what_has_nothing_to_put_back_stays_in_quarantine(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, stream: str, quarantine: str
) -> None:
    await give_up(backend, store, wire, 1)
    foreign = await wire.text("XADD", quarantine, "*", "note", "mine")
    ids = await listed_ids(backend)

    with pytest.raises(Rejected, match="no fields"):
        await backend.quarantine_replay(kind="events", ids=ids)
    assert await listed_ids(backend) == [foreign.decode()]
    assert await wire.number("XLEN", stream) == 1


# -- dropping


async def test_what_is_dropped_is_gone_and_stays_in_the_stream(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire
) -> None:
    await give_up(backend, store, wire, 3)
    first, second, third = await listed_ids(backend)

    assert await backend.quarantine_drop(kind="events", ids=[first, third, third, "1-0"]) == 2
    assert await backend.quarantine_drop(kind="events", ids=[first, third]) == 0
    assert await listed_ids(backend) == [second]
    assert await numbers(backend) == [0, 1, 2]
    assert await backend.quarantine_replay(kind="events", ids=[first]) == ReplayReport(missing=(first,))


async def test_very_many_are_dropped_at_once(backend: RedisStreamsPersistence, wire: Wire, quarantine: str) -> None:
    for number in range(1, 2502):
        await wire("XADD", quarantine, f"{number}-0", "reason", "bad")

    ids = [f"{number}-0" for number in range(1, 10_001)]
    assert await backend.quarantine_drop(kind="events", ids=ids) == 2501
    assert await listed_ids(backend) == []


async def test_no_ids_at_all_do_nothing(backend: RedisStreamsPersistence, store: StreamStore, wire: Wire) -> None:
    await give_up(backend, store, wire, 1)

    assert await backend.quarantine_replay(kind="events", ids=[]) == ReplayReport()
    assert await backend.quarantine_drop(kind="events", ids=[]) == 0
    assert len(await listed_ids(backend)) == 1


# -- what is wrong


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "10"])
async def test_a_limit_that_is_none_is_refused(backend: RedisStreamsPersistence, limit: Any) -> None:
    with pytest.raises(InvalidValue, match="limit"):
        await backend.quarantine_list(kind="events", limit=limit)


@pytest.mark.parametrize("after", ["", "x", "$", "1-", 7, b"1-0"])
async def test_a_place_to_go_on_from_that_is_none_is_refused(backend: RedisStreamsPersistence, after: Any) -> None:
    with pytest.raises(InvalidEntryId):
        await backend.quarantine_list(kind="events", after=after)


@pytest.mark.parametrize("operation", ["quarantine_replay", "quarantine_drop"])
@pytest.mark.parametrize("ids", ["1-0", None, 7])
async def test_ids_that_are_no_list_are_refused(backend: RedisStreamsPersistence, operation: str, ids: Any) -> None:
    with pytest.raises(InvalidValue, match="list of entry ids"):
        await getattr(backend, operation)(kind="events", ids=ids)


@pytest.mark.parametrize("operation", ["quarantine_replay", "quarantine_drop"])
@pytest.mark.parametrize("wrong", ["", "x", ">", 7, None])
async def test_one_wrong_id_is_refused_before_anything_is_done(
    backend: RedisStreamsPersistence, store: StreamStore, wire: Wire, operation: str, wrong: Any
) -> None:
    await give_up(backend, store, wire, 1)
    ids = await listed_ids(backend)

    with pytest.raises(InvalidEntryId):
        await getattr(backend, operation)(kind="events", ids=[*ids, wrong])
    assert await listed_ids(backend) == ids


@pytest.mark.parametrize(
    ("operation", "asked"),
    [("quarantine_list", {}), ("quarantine_replay", {"ids": []}), ("quarantine_drop", {"ids": []})],
)
@pytest.mark.parametrize("kind", ["event", "", None, ("events",)])
async def test_a_kind_that_is_none_is_refused(
    backend: RedisStreamsPersistence, operation: str, asked: dict[str, Any], kind: Any
) -> None:
    with pytest.raises(UnknownKind):
        await getattr(backend, operation)(kind=kind, **asked)
