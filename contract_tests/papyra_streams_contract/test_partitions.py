"""One hot actor system on several streams: what is promised of one stream holds for all of them together."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistedDeadLetter

from papyra_streams import (
    RedisStreamsPersistence,
    SubscriptionConfig,
)
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition, number_of

from .arranging import fields_of, stored
from .backends import QUARANTINE, REBUILD, REPAIR, OpenBackend, add_raw, damage
from .partitioned import (
    ACTORS,
    GROUP,
    PARTITIONS,
    assert_actors_in_order,
    consume_all,
    fact,
    listed,
    record,
    row,
    same_ids,
)
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


# -- writing and reading


async def test_writers_at_once_keep_each_actors_order_and_fill_all_partitions(
    open_backend: OpenBackend, streams: list[str], wire: Wire
) -> None:
    backends = [open_backend(partitions=PARTITIONS) for _ in range(3)]

    async def act(divided: RedisStreamsPersistence, actor: int) -> None:
        for number in range(actor, 1200, ACTORS):
            await divided.record_event(fact(number))

    async with anyio.create_task_group() as tasks:
        for actor in range(ACTORS):
            tasks.start_soon(act, backends[actor % 3], actor)

    assert_actors_in_order(await backends[0].list_events(), 1200)
    for number, stream in enumerate(streams):
        rows = [json.loads(fields[1]) for fields in await fields_of(wire, stream)]
        assert rows
        assert {number_of(each, PARTITIONS) for each in rows} == {number}


async def test_one_partition_is_papyras_layout(open_backend: OpenBackend, wire: Wire, namespace: str) -> None:
    divided = open_backend(partitions=1)
    await record(divided, 50)
    await divided.record_dead_letter(PersistedDeadLetter("orders", "orders/1", "str", "x", 1.0))

    keys = {key.decode() for key in await wire.keys(f"{namespace}:*")}
    assert {key for key in keys if "{" not in key} == {f"{namespace}:orders:events", f"{namespace}:orders:dead_letters"}


async def test_what_names_no_actor_is_kept_together(
    divided: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    for number in range(20):
        await divided.record_audit({"total_actors": number, "actor_address": f"orders/{number}"})
        await divided.record_event({"payload": {"number": number}})
        await divided.record_dead_letter({"payload": number})

    assert [await wire("XLEN", f"{namespace}:orders:{kind}") for kind in ("audits", "events", "dead_letters")] == [
        20,
        20,
        20,
    ]
    assert [audit.total_actors for audit in await divided.list_audits()] == list(range(20))


async def test_dead_letters_are_divided_by_their_targets(divided: RedisStreamsPersistence) -> None:
    letters = [PersistedDeadLetter("orders", f"orders/{n}", "str", n, 1_750_000_000.0 + n) for n in range(40)]
    for letter in letters:
        await divided.record_dead_letter(letter)

    found = await divided.list_dead_letters()
    assert sorted(found, key=lambda letter: letter.timestamp) == letters


_POLICIES = [
    RetentionPolicy(),
    RetentionPolicy(max_records=70),
    RetentionPolicy(max_age_seconds=1200),
    RetentionPolicy(max_total_bytes=9000),
    RetentionPolicy(max_records=50, max_age_seconds=3000, max_total_bytes=7000),
]


async def put_alike(wire: Wire, whole: str, parts: Sequence[str], now_ms: int, seed: int) -> None:
    """Put the same entries into one stream, and divided into several, with a few bad ones.

    They are half a minute apart, so that none comes of age while the test runs.
    """
    chance = random.Random(seed)
    for position in range(200):
        moment = now_ms - (200 - position) * 30_000 - 1000
        late = chance.choice([0, 0, 0, 300, 1200])
        fields = row(chance.randrange(1000), timestamp=moment / 1000 - late, text="x" * chance.randrange(50))
        data = b"{broken" if chance.random() < 0.1 else json.dumps(fields).encode()
        for stream in (whole, chance.choice(parts)):
            await add_raw(wire, stream, data, f"{moment}-0")


@pytest.mark.parametrize("policy", _POLICIES, ids=str)
async def test_reads_and_compactions_are_those_of_one_stream(
    open_backend: OpenBackend, wire: Wire, policy: RetentionPolicy
) -> None:
    one = open_backend(policy, system_id="whole", approx_trim=False)
    many = open_backend(policy, system_id="parts", approx_trim=False, partitions=PARTITIONS)
    keys = many.config.keyspace()
    parts = [keys.stream(partition) for partition in keys.partitions_of(EVENTS)]
    seconds, _ = await wire.rows("TIME")
    assert isinstance(seconds, bytes)
    await put_alike(wire, one.config.keyspace().stream(Partition(EVENTS)), parts, int(seconds) * 1000, seed=7)

    async def read(divided: RedisStreamsPersistence, **asked: Any) -> list[tuple[Any, float]]:
        return [(event.payload, event.timestamp) for event in await divided.list_events(**asked)]

    expected = await read(one)
    assert await read(many) == expected
    assert await read(many, limit=17) == await read(one, limit=17) == expected[-17:]
    since = int(seconds) - 900
    assert await read(many, since=since) == await read(one, since=since)

    report = await many.compact(dry_run=True)
    assert report.removed_records == (await many.compact()).removed_records
    assert await read(many) == expected
    if policy == RetentionPolicy():
        assert report.removed_records == 0
        return
    assert report.removed_records > 0
    # Each begins with something that is shown, or that a scan is to report.
    shown = {timestamp for _, timestamp in expected}
    for (_, data), *_others in [await fields_of(wire, stream) for stream in parts]:
        assert data == b"{broken" or json.loads(data)["timestamp"] in shown


async def test_raising_the_number_keeps_what_is_there_readable(open_backend: OpenBackend) -> None:
    before = open_backend()
    await record(before, 100)
    after = open_backend(partitions=PARTITIONS)
    await record(after, 100, first=100)

    assert_actors_in_order(await after.list_events(), 200)
    assert await listed(after, limit=100) != list(range(100))
    given = await consume_all(after)
    assert sorted(item.data["payload"]["number"] for item in given) == list(range(200))


# -- looking after them


async def test_a_scan_names_what_is_bad_in_any_partition_and_a_recovery_moves_it(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await record(divided, 100)
    await damage(wire, streams[1], [b"{"])
    await damage(wire, streams[3], [b"\xff", b"{"])
    report = await divided.scan()
    assert Counter(each.path for each in report.anomalies) == {streams[1]: 1, streams[3]: 2}

    recovered = await divided.recover(QUARANTINE)
    assert recovered.repaired_files == (streams[1], streams[3])
    assert not (await divided.scan()).has_anomalies
    entries = await divided.quarantine_list(kind="events")
    assert Counter(each.stream for each in entries) == {streams[1]: 1, streams[3]: 2}
    assert all(each.id.endswith({streams[1]: "@1", streams[3]: "@3"}[each.stream]) for each in entries)
    assert sorted(await listed(divided)) == list(range(100))


async def test_quarantines_are_listed_shown_mended_and_emptied_as_one(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    for number in range(12):
        await damage(wire, streams[number % PARTITIONS], [b"{%d" % number])
    await divided.recover(QUARANTINE)
    entries = await divided.quarantine_list(kind="events")
    everything = [each.id for each in entries]
    assert {each.data for each in entries} == {b"{%d" % number for number in range(12)}
    moments = [EntryId.parse(one.partition("@")[0]) for one in everything]
    assert moments == sorted(moments)

    paged: list[str] = []
    while page := await divided.quarantine_list(kind="events", limit=5, after=paged[-1] if paged else None):
        paged += [each.id for each in page]
    assert paged == everything
    last = next(each for each in entries if each.data == b"{11")
    assert last.id.endswith("@3")
    assert last.stream == streams[3]
    assert await divided.quarantine_show(kind="events", id=last.id) == last

    mended = json.dumps(row(77)).encode()
    report = await divided.quarantine_replay(kind="events", ids=[last.id], mend=lambda _: mended)
    assert report.appended[last.id].endswith("@3")
    assert await listed(divided) == [77]
    assert await stored(wire, streams[3])
    assert await divided.quarantine_drop(kind="events", ids=everything) == 11
    assert await divided.quarantine_list(kind="events") == ()


async def test_what_a_group_gives_up_comes_back_to_its_partition(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await same_ids(wire, streams, count=1)
    with anyio.fail_after(10):
        async with divided.subscription(kind="events", cfg=SubscriptionConfig(group=GROUP)) as subscription:
            for _ in range(PARTITIONS):
                await (await anext(subscription)).reject("of no use")
        (given_up,) = [each for each in await divided.quarantine_list(kind="events") if each.stream == streams[2]]
        report = await divided.quarantine_replay(kind="events", ids=[given_up.id])
        assert report.pending == (given_up.id,)
        async with divided.subscription(kind="events", cfg=SubscriptionConfig(group=GROUP)) as subscription:
            assert (await anext(subscription)).id == "1-0@2"


@pytest.mark.parametrize("mode", [REPAIR, REBUILD], ids=lambda config: config.mode.name)
async def test_a_recovery_goes_through_every_partition(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str], mode: Any
) -> None:
    await record(divided, 100)
    for stream in streams:
        await damage(wire, stream, [b"{"])
    report = await divided.recover(mode)

    assert report.repaired_files[: len(streams)] == tuple(streams)
    assert sorted(await listed(divided)) == list(range(100))
    assert not (await divided.scan(full=True)).has_anomalies


async def test_a_group_holds_up_compaction_of_its_partition_alone(
    open_backend: OpenBackend, wire: Wire, streams: list[str]
) -> None:
    divided = open_backend(RetentionPolicy(max_records=4), partitions=PARTITIONS, approx_trim=False)
    await same_ids(wire, streams)
    await wire("XGROUP", "CREATE", streams[1], "slow", "1-0")
    report = await divided.compact()

    assert [await wire("XLEN", stream) for stream in streams] == [1, 2, 1, 1]
    assert [(held.stream, held.needs) for held in report.held_back] == [(streams[1], "2-0")]
    assert [each.removed_records for each in report.streams[: len(streams)]] == [2, 1, 2, 2]


async def test_a_scan_warns_of_records_beyond_the_partitions(open_backend: OpenBackend, streams: list[str]) -> None:
    before = open_backend(partitions=PARTITIONS)
    await record(before, 100)
    assert (await before.scan()).warnings == ()

    (warning,) = (await open_backend(partitions=2).scan()).warnings
    assert (warning.subject, warning.stream) == ("partitions", streams[2])
    assert warning.detail.endswith(
        "records that no read finds: `partitions` was larger than 2 before. Set it to what it was."
    )
