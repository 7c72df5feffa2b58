"""Writing to several partitions: an actor's records stay in order, and no partition waits for another."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import anyio
import orjson
import pytest

from papyra_streams import StreamsMetrics, WritePolicy
from papyra_streams.application.journal import Journal
from papyra_streams.application.metrics import WriteMeter
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS
from papyra_streams.domain.partitions import Partition, number_of
from papyra_streams.errors import Unavailable

from .fake_spool import FakeSpool
from .fakes import FakeStore

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
KEYS = Keyspace("papyra", "orders", partitions=4)


@pytest.fixture
def meter() -> WriteMeter:
    return WriteMeter(StreamsMetrics())


@pytest.fixture
def journal(store: FakeStore, meter: WriteMeter) -> Journal:
    return Journal(store, KEYS, WritePolicy(), meter, lambda: NOW, None)


def fact(number: int, actors: int = 40) -> dict[str, Any]:
    return {"kind": "event", "actor_address": f"orders/{number % actors}", "payload": number, "timestamp": NOW}


def rows(store: FakeStore, number: int) -> list[dict[str, Any]]:
    return [orjson.loads(payload) for payload in store.payloads(KEYS.stream(Partition(EVENTS, number)))]


def assert_each_actor_in_order_in_its_partition(store: FakeStore, count: int) -> None:
    found = 0
    for number in range(4):
        by_actor: defaultdict[str, list[int]] = defaultdict(list)
        for row in rows(store, number):
            assert number_of(row, 4) == number
            by_actor[row["actor_address"]].append(row["payload"])
            found += 1
        assert by_actor
        assert all(payloads == sorted(payloads) for payloads in by_actor.values())
    assert found == count


async def test_an_actors_records_stay_in_order_in_one_partition(store: FakeStore, journal: Journal) -> None:
    async def act(actor: int) -> None:
        for number in range(actor, 400, 40):
            await journal.record(EVENTS, fact(number))

    async with anyio.create_task_group() as tasks:
        for actor in range(40):
            tasks.start_soon(act, actor)

    assert_each_actor_in_order_in_its_partition(store, 400)


async def test_many_records_are_divided_likewise(store: FakeStore, journal: Journal) -> None:
    assert await journal.record_many(map(fact, range(3000))) == 3000

    assert_each_actor_in_order_in_its_partition(store, 3000)


async def test_of_many_records_a_few_batches_are_in_memory_however_many_partitions_share_them(
    store: FakeStore, meter: WriteMeter
) -> None:
    keys = Keyspace("papyra", "orders", partitions=256)
    journal = Journal(store, keys, WritePolicy(), meter, lambda: NOW, None)
    waiting: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        for number in range(10_000):
            waiting.append(meter.queued)
            yield fact(number, actors=5000)

    await journal.record_many(source())

    assert 2 * 500 < max(waiting) <= 3 * 500
    assert sum(len(store.payloads(keys.stream(each))) for each in keys.partitions_of(EVENTS)) == 10_000


async def test_one_partition_does_not_wait_for_another(store: FakeStore, journal: Journal) -> None:
    reached = anyio.Event()

    async def hang() -> None:
        if not reached.is_set():
            reached.set()
            await anyio.sleep_forever()

    store.before_append = hang
    one, other = (next(n for n in range(40) if number_of(fact(n), 4) == wanted) for wanted in (1, 2))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.record, EVENTS, fact(one))
        await reached.wait()
        with anyio.fail_after(5):
            await journal.record(EVENTS, fact(other))
        tasks.cancel_scope.cancel()

    assert [len(rows(store, number)) for number in (1, 2)] == [0, 1]


async def test_what_names_no_actor_goes_to_the_first_partition(store: FakeStore, journal: Journal) -> None:
    await journal.record(EVENTS, {"payload": 1})
    await journal.record(AUDITS, {"actor_address": "orders/1"})
    await journal.record(DEAD_LETTERS, {"target": None})
    await journal.record(EVENTS, object())

    assert {append.stream for append in store.appends} == {
        "papyra:orders:events",
        "papyra:orders:audits",
        "papyra:orders:dead_letters",
    }


async def test_what_the_spool_holds_for_a_partition_that_is_no_more_is_sent_there_and_named(
    store: FakeStore, meter: WriteMeter, caplog: pytest.LogCaptureFixture
) -> None:
    spool = FakeSpool()
    spool.leave("papyra:orders:events:7", "former", [b"beyond"])
    spool.leave("papyra:orders:events:1", "former", [b"within"])
    spool.leave("papyra:others:events", "former", [b"foreign"])
    journal = Journal(store, KEYS, WritePolicy(spool_dir="unused"), meter, lambda: NOW, spool)

    with caplog.at_level(logging.WARNING):
        await journal.open()
        await journal.close()

    assert store.payloads("papyra:orders:events:7") == [b"beyond"]
    assert store.payloads("papyra:orders:events:1") == [b"within"]
    assert [row.payload for row in spool.rows] == [b"foreign"]
    named = [record.getMessage() for record in caplog.records if "no read finds" in record.getMessage()]
    assert len(named) == 1
    assert named[0].startswith("The spool holds records for papyra:orders:events:7, where no read finds them")


async def test_each_partition_has_its_place_in_the_spool(store: FakeStore, meter: WriteMeter) -> None:
    spool = FakeSpool()
    policy = WritePolicy(spool_dir="unused", queue_seconds=0.01, close_timeout=0.1, backoff=0.001)
    journal = Journal(store, KEYS, policy, meter, lambda: NOW, spool)
    store.outage = Unavailable("The server is away.")
    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(journal.record, EVENTS, fact(number))
    await journal.close()
    assert len(spool.rows) == 40

    store.outage, spool.is_closed = None, False
    again = Journal(store, KEYS, policy, meter, lambda: NOW, spool)
    await again.open()
    await again.close()

    assert_each_actor_in_order_in_its_partition(store, 40)
