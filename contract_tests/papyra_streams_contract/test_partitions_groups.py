"""Consumer groups and subscriptions on all partitions of a kind: as if it were one stream."""

import asyncio
import random
from collections import Counter, defaultdict
from typing import Any

import anyio
import pytest

from papyra_streams import (
    Delivery,
    GroupMissing,
    InvalidEntryId,
    RedisConsumerGroupConfig,
    RedisStreamsPersistence,
    SubscriptionConfig,
    WrongType,
)

from .backends import WORKERS, OpenBackend, add_raw, damage
from .partitioned import (
    GROUP,
    PARTITIONS,
    consume_all,
    fact,
    record,
    row,
    same_ids,
)
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


# -- consumer groups


async def test_a_consumer_is_given_everything_of_all_partitions(divided: RedisStreamsPersistence) -> None:
    await record(divided, 300)
    given = await consume_all(divided, RedisConsumerGroupConfig(GROUP, "me", count=7, block_ms=0))

    assert sorted(item.data["payload"]["number"] for item in given) == list(range(300))
    assert len({item.id for item in given}) == 300
    assert await divided.ack(kind="events", group=GROUP, ids=[item.id for item in given]) == 300
    assert (await divided.pending_summary(kind="events", group=GROUP)).count == 0


async def test_no_partition_waits_until_another_is_empty(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await same_ids(wire, streams, count=50)
    cfg = RedisConsumerGroupConfig(GROUP, "me", count=5, block_ms=0)
    given = [item for _ in range(PARTITIONS) for item in await divided.consume(kind="events", cfg=cfg)]

    assert Counter(item.data["payload"]["number"] // 100 for item in given) == dict.fromkeys(range(PARTITIONS), 5)


async def test_a_consumer_waits_for_what_comes_to_any_partition(divided: RedisStreamsPersistence) -> None:
    cfg = RedisConsumerGroupConfig(GROUP, "me", count=10, block_ms=20_000)
    for number in range(8):
        reading = asyncio.create_task(divided.consume(kind="events", cfg=cfg))
        await asyncio.sleep(0.1)
        await divided.record_event(fact(number))
        async with asyncio.timeout(2):
            assert [item.data["payload"]["number"] for item in await reading] == [number]


async def test_what_others_have_is_given_though_one_partition_cannot_be_read(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await divided.ensure_consumer_group(kind="events", group=GROUP)
    await same_ids(wire, streams)
    await wire("DEL", streams[2])
    await wire("SET", streams[2], "no stream")
    cfg = RedisConsumerGroupConfig(GROUP, "me", count=2, block_ms=0)
    given: list[Any] = []
    told = 0
    while len(given) < 9:
        try:
            given += await divided.consume(kind="events", cfg=cfg)
        except WrongType:
            told += 1

    assert Counter(item.data["payload"]["number"] // 100 for item in given) == {0: 3, 1: 3, 3: 3}
    # Those that come after two others are not asked in each call.
    assert told in range(1, 6)
    with pytest.raises(WrongType):
        await divided.consume(kind="events", cfg=cfg)


@pytest.mark.parametrize("block_ms", [0, 300])
async def test_an_empty_answer_comes_when_the_time_is_up(divided: RedisStreamsPersistence, block_ms: int) -> None:
    cfg = RedisConsumerGroupConfig(GROUP, "me", block_ms=block_ms)
    await divided.consume(kind="events", cfg=cfg)
    begun = anyio.current_time()

    assert await divided.consume(kind="events", cfg=cfg) == ()
    assert block_ms / 1000 - 0.02 <= anyio.current_time() - begun < block_ms / 1000 + 1


@pytest.mark.parametrize("block_ms", [0, None])
async def test_a_cancelled_consumer_loses_nothing(divided: RedisStreamsPersistence, block_ms: int | None) -> None:
    chance = random.Random(1)
    cfg = RedisConsumerGroupConfig(GROUP, "me", count=9, block_ms=block_ms)
    await divided.ensure_consumer_group(kind="events", group=GROUP)
    found: list[Any] = []
    for number in range(60):
        reading = asyncio.create_task(divided.consume(kind="events", cfg=cfg))
        writing = asyncio.create_task(divided.record_event(fact(number)))
        await asyncio.sleep(chance.random() * 0.004)
        reading.cancel()
        await asyncio.wait([reading, writing])
        found += [] if reading.cancelled() else reading.result()
    found += await consume_all(divided, RedisConsumerGroupConfig(GROUP, "me", count=9, block_ms=0))

    assert sorted(item.data["payload"]["number"] for item in found) == list(range(60))


async def test_entries_with_one_id_are_acknowledged_each_by_its_own(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await same_ids(wire, streams)
    ids = {item.id: item.data["payload"]["number"] for item in await consume_all(divided)}
    assert {one: ids[one] for one in ("2-0", "2-0@1", "2-0@3")} == {"2-0": 2, "2-0@1": 102, "2-0@3": 302}

    assert await divided.ack(kind="events", group=GROUP, ids=["2-0@1", "3-0"]) == 2
    assert await divided.ack(kind="events", group=GROUP, ids=["2-0@1", "3-0"]) == 0
    assert [(await wire.rows("XPENDING", stream, GROUP))[0] for stream in streams] == [2, 2, 3, 3]


async def test_entries_with_one_id_are_claimed_each_by_its_own(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await same_ids(wire, streams)
    await consume_all(divided)
    wanted = ["2-0@3", "1-0", "2-0@1", "9-0@2"]
    claimed = await divided.claim("events", group=GROUP, consumer="heir", min_idle_ms=0, entry_ids=wanted)

    assert [(item.id, item.data["payload"]["number"]) for item in claimed] == [
        ("2-0@3", 302),
        ("1-0", 1),
        ("2-0@1", 102),
    ]
    assert (await divided.pending_summary(kind="events", group=GROUP)).consumers == {"worker-1": 9, "heir": 3}


async def test_own_pending_entries_come_page_by_page(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await same_ids(wire, streams)
    await damage(wire, streams[2], [b"{"])
    given = await consume_all(divided)
    cfg = RedisConsumerGroupConfig(GROUP, WORKERS.consumer, count=5, block_ms=0)
    found: list[str] = []
    read_id = "0"
    while items := await divided.consume(kind="events", cfg=cfg, read_id=read_id):
        assert len(items) <= 5
        found += [item.id for item in items]
        read_id = found[-1]

    by_time = [f"{position}-0{at}" for position in (1, 2, 3) for at in ("", "@1", "@2", "@3")]
    assert found == by_time
    assert sorted(item.id for item in given) == sorted(by_time)


@pytest.mark.parametrize("wrong", ["1-0@4", "1-0@0", "1-0@x"])
async def test_an_id_of_no_partition_is_refused_everywhere(divided: RedisStreamsPersistence, wrong: str) -> None:
    for call in (
        divided.ack(kind="events", group=GROUP, ids=[wrong]),
        divided.claim("events", group=GROUP, consumer="me", min_idle_ms=0, entry_ids=[wrong]),
        divided.consume(kind="events", cfg=WORKERS, read_id=wrong),
        divided.quarantine_show(kind="events", id=wrong),
        divided.quarantine_list(kind="events", after=wrong),
        divided.quarantine_replay(kind="events", ids=[wrong]),
        divided.quarantine_drop(kind="events", ids=[wrong]),
        divided.ack(kind="audits", group=GROUP, ids=["1-0@1"]),
    ):
        with pytest.raises(InvalidEntryId):
            await call


async def test_the_state_of_a_group_is_that_of_all_partitions(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await same_ids(wire, streams)
    cfg = RedisConsumerGroupConfig(GROUP, "me", count=3, block_ms=0)
    for _ in range(3):
        await divided.consume(kind="events", cfg=cfg)
    status = await divided.group_status(kind="events", group=GROUP)

    assert (status.stream, status.length, status.pending) == (streams[0], 12, 9)
    assert [(each.name, each.pending, each.highest_attempt) for each in status.consumers] == [("me", 9, 1)]
    assert status.lag in (3, None)
    assert status.oldest_pending_age
    summary = await divided.pending_summary(kind="events", group=GROUP)
    assert (summary.count, summary.consumers) == (9, {"me": 9})
    assert (summary.min_id, summary.max_id) == min_and_max(await read_own(divided))


async def read_own(divided: RedisStreamsPersistence) -> list[str]:
    """Return the ids of what is pending."""
    cfg = RedisConsumerGroupConfig(GROUP, "me", count=100, block_ms=0)
    return [item.id for item in await divided.consume(kind="events", cfg=cfg, read_id="0")]


def min_and_max(ids: list[str]) -> tuple[str, str]:
    """Return the first and the last."""
    return ids[0], ids[-1]


async def test_a_group_that_is_missing_in_new_partitions_is_told_of_as_far_as_it_is(open_backend: OpenBackend) -> None:
    before = open_backend()
    await record(before, 10)
    await consume_all(before)
    after = open_backend(partitions=PARTITIONS)
    assert (await after.group_status(kind="events", group=GROUP)).lag == 0

    await record(after, 40, first=10)
    status = await after.group_status(kind="events", group=GROUP)
    assert (status.length, status.lag, status.pending) == (50, None, 10)
    with pytest.raises(GroupMissing):
        await after.group_status(kind="events", group="nobody")


async def test_a_consumer_is_idle_where_it_is_idle_in_all_partitions(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await divided.ensure_consumer_group(kind="events", group=GROUP)
    for stream in streams:
        await wire("XGROUP", "CREATECONSUMER", stream, GROUP, "gone")
        await wire("XGROUP", "CREATECONSUMER", stream, GROUP, "busy")
    await add_raw(wire, streams[2], row(1))
    await wire("XREADGROUP", "GROUP", GROUP, "busy", "STREAMS", streams[2], ">")
    await asyncio.sleep(0.02)

    assert await divided.remove_idle_consumers(kind="events", group=GROUP, older_than=0.01) == ("gone",)
    assert [each.name for each in await divided.consumers(kind="events", group=GROUP)] == ["busy"]


# -- subscriptions


class Till:
    """A handler that notes what it was given, and stops the workers when it has had everything."""

    def __init__(self, enough: int) -> None:
        self.stop = anyio.Event()
        self.handled: list[tuple[str, int]] = []
        self.ids: set[str] = set()
        self._enough = enough

    async def __call__(self, delivery: Delivery) -> None:
        """Note it."""
        self.handled.append((delivery.data["actor_address"], delivery.data["payload"]["number"]))
        self.ids.add(delivery.id)
        if len({number for _, number in self.handled}) == self._enough:
            self.stop.set()


async def process(divided: RedisStreamsPersistence, till: Till, **settings: Any) -> None:
    """Run a worker until everything is handled."""
    with anyio.fail_after(20):
        cfg = SubscriptionConfig(group=GROUP, **settings)
        await divided.process(kind="events", cfg=cfg, handler=till, stop=till.stop)


@pytest.mark.parametrize("concurrency", [1, 3, 20])
async def test_workers_handle_everything_once_while_it_is_written(
    divided: RedisStreamsPersistence, streams: list[str], concurrency: int
) -> None:
    await record(divided, 200)
    till = Till(400)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(lambda: process(divided, till, concurrency=concurrency))
        await record(divided, 200, first=200)

    assert sorted(number for _, number in till.handled) == list(range(400))
    assert len(till.ids) == 400
    assert (await divided.pending_summary(kind="events", group=GROUP)).count == 0
    assert {one.partition("@")[2] for one in till.ids} == {"", *map(str, range(1, len(streams)))}


@pytest.mark.parametrize("concurrency", [2, 20])
async def test_with_ordering_each_actors_entries_are_handled_in_order(
    divided: RedisStreamsPersistence, concurrency: int
) -> None:
    till = Till(400)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(lambda: process(divided, till, concurrency=concurrency, ordering="actor"))
        for first in range(0, 400, 100):
            await record(divided, 100, first=first)

    by_actor: defaultdict[str, list[int]] = defaultdict(list)
    for actor, number in till.handled:
        by_actor[actor].append(number)
    assert all(numbers == sorted(set(numbers)) for numbers in by_actor.values())
    assert len(till.handled) == 400


async def test_a_delivery_is_acknowledged_in_its_own_partition(
    divided: RedisStreamsPersistence, wire: Wire, streams: list[str]
) -> None:
    await same_ids(wire, streams, count=1)
    with anyio.fail_after(10):
        async with divided.subscription(kind="events", cfg=SubscriptionConfig(group=GROUP)) as subscription:
            deliveries = [await anext(subscription) for _ in range(PARTITIONS)]
            assert {each.id for each in deliveries} == {"1-0", "1-0@1", "1-0@2", "1-0@3"}
            await next(each for each in deliveries if each.id == "1-0@2").ack()

            assert [(await wire.rows("XPENDING", stream, GROUP))[0] for stream in streams] == [1, 1, 0, 1]
