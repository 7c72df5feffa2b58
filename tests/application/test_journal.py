"""Writing: callers share round trips, in order, each record once, whatever happens to the server or to others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from anyio.abc import TaskGroup

from papyra_streams import StreamsMetrics, UnknownKind, UnsupportedOperation, WritePolicy
from papyra_streams.application.journal import Journal
from papyra_streams.application.metrics import WriteMeter
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import AUDITS, EVENTS
from papyra_streams.errors import Unavailable
from papyra_streams.ports import Confirmation

from .fakes import FakeStore

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
STREAM = "papyra:orders:events"
AUDIT_STREAM = "papyra:orders:audits"


class Gate:
    """Holds one call of the store until it is opened; the first unless another is named."""

    def __init__(self, call: int = 1) -> None:
        self.reached = anyio.Event()
        self.opened = anyio.Event()
        self._calls_left = call

    async def __call__(self) -> None:
        self._calls_left -= 1
        if self._calls_left == 0:
            self.reached.set()
            await self.opened.wait()


class Callers:
    """Callers that record a number each, and the order in which they did."""

    def __init__(self, journal: Journal) -> None:
        self.called: list[int] = []
        self.returned: set[int] = set()
        self._journal = journal

    async def record(self, number: int) -> None:
        self.called.append(number)
        await self._journal.record(EVENTS, {"payload": number, "timestamp": NOW})
        self.returned.add(number)


@pytest.fixture
def metrics() -> StreamsMetrics:
    return StreamsMetrics()


@pytest.fixture
def meter(metrics: StreamsMetrics) -> WriteMeter:
    return WriteMeter(metrics)


@pytest.fixture
def journal(store: FakeStore, keys: Keyspace, meter: WriteMeter) -> Journal:
    return journal_with(WritePolicy(), store, keys, meter)


def journal_with(policy: WritePolicy, store: FakeStore, keys: Keyspace, meter: WriteMeter) -> Journal:
    return Journal(store, keys, policy, meter, lambda: NOW, None)


@pytest.fixture
def callers(journal: Journal) -> Callers:
    return Callers(journal)


def numbers(store: FakeStore, stream: str = STREAM) -> list[int]:
    """Return what a stream holds."""
    return [orjson.loads(payload).get("payload") for payload in store.payloads(stream)]


async def start(tasks: TaskGroup, callers: Callers, numbers_to_record: range) -> None:
    """Let callers begin, and come to where each of them waits."""
    for number in numbers_to_record:
        tasks.start_soon(callers.record, number)
    await anyio.wait_all_tasks_blocked()


# -- alone


async def test_a_lone_record_is_stored_at_once(store: FakeStore, journal: Journal, metrics: StreamsMetrics) -> None:
    await journal.record(EVENTS, {"payload": 7, "timestamp": NOW})

    (payload,) = store.payloads(STREAM)
    assert orjson.loads(payload) == {"kind": "event", "payload": 7, "timestamp": NOW, "system_id": "orders"}
    assert (metrics.records_written, metrics.bytes_written, metrics.write_errors) == (1, len(payload), 0)


async def test_each_kind_goes_to_its_stream(store: FakeStore, journal: Journal) -> None:
    await journal.record(AUDITS, {"timestamp": NOW})

    assert list(store.streams) == ["papyra:orders:audits"]


async def test_one_kind_does_not_wait_for_another(store: FakeStore, journal: Journal, callers: Callers) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(callers.record, 1)
        await gate.reached.wait()
        await journal.record(AUDITS, {"timestamp": NOW})
        gate.opened.set()

    assert [append.stream for append in store.appends] == [STREAM, "papyra:orders:audits"]


# -- together


async def test_those_who_come_while_a_batch_is_written_share_the_next(store: FakeStore, callers: Callers) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        await start(tasks, callers, range(1, 200))
        gate.opened.set()

    assert [len(append.payloads) for append in store.appends] == [1, 199]
    assert callers.returned == set(range(200))


async def test_records_are_stored_in_the_order_of_the_calls(store: FakeStore, callers: Callers) -> None:
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(200))

    assert numbers(store) == callers.called


async def test_nobody_returns_before_the_server_has_the_record(store: FakeStore, callers: Callers) -> None:
    gate = store.after_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(3))
        assert callers.returned == set()
        gate.opened.set()


async def test_a_batch_has_at_most_500_records(store: FakeStore, callers: Callers) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        await start(tasks, callers, range(1, 1201))
        gate.opened.set()

    assert [len(append.payloads) for append in store.appends] == [1, 500, 500, 200]


async def test_a_batch_has_at_most_a_mebibyte(store: FakeStore, journal: Journal) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        for _ in range(11):
            tasks.start_soon(journal.record, EVENTS, {"payload": "x" * 300 * 1024})
        await gate.reached.wait()
        gate.opened.set()

    assert all(append.size <= 1024 * 1024 for append in store.appends)
    assert len(store.payloads(STREAM)) == 11


async def test_a_record_larger_than_a_batch_is_stored_alone(store: FakeStore, journal: Journal) -> None:
    await journal.record(EVENTS, {"payload": "x" * 2 * 1024 * 1024})

    assert len(store.payloads(STREAM)) == 1


async def test_a_producer_numbers_its_records(store: FakeStore, callers: Callers) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        await start(tasks, callers, range(1, 8))
        gate.opened.set()
    await callers.record(8)

    assert [append.mark.first for append in store.appends] == [1, 2, 9]
    assert len({append.mark.key for append in store.appends}) == 1


async def test_two_journals_are_two_producers(store: FakeStore, keys: Keyspace) -> None:
    for _ in range(2):
        journal = journal_with(WritePolicy(), store, keys, WriteMeter(StreamsMetrics()))
        await journal.record(EVENTS, {"timestamp": NOW})

    assert len(store.payloads(STREAM)) == 2


# -- company


@pytest.fixture
def lingering(store: FakeStore, keys: Keyspace, meter: WriteMeter) -> Callers:
    """Return callers of a journal in which records would wait for each other for very long."""
    return Callers(journal_with(WritePolicy(linger=1000.0), store, keys, meter))


async def test_a_lone_record_waits_for_no_company(store: FakeStore, lingering: Callers) -> None:
    async with anyio.create_task_group() as tasks:
        await start(tasks, lingering, range(1))

    assert numbers(store) == [0]


async def test_who_records_soon_after_another_waits_for_company_until_a_batch_is_full(
    store: FakeStore, lingering: Callers
) -> None:
    async with anyio.create_task_group() as tasks:
        await start(tasks, lingering, range(1))
        await start(tasks, lingering, range(1, 501))
        assert numbers(store) == [0]
        await start(tasks, lingering, range(501, 502))
        assert len(numbers(store)) == 501
        tasks.cancel_scope.cancel()

    assert [len(append.payloads) for append in store.appends] == [1, 500]


async def test_who_records_again_waits_for_no_company(store: FakeStore, lingering: Callers) -> None:
    with anyio.fail_after(5):
        for number in range(5):
            await lingering.record(number)

    assert numbers(store) == list(range(5))


async def test_who_records_again_takes_those_along_who_wait_for_company(store: FakeStore, lingering: Callers) -> None:
    await lingering.record(0)
    async with anyio.create_task_group() as tasks:
        await start(tasks, lingering, range(1, 3))
        assert numbers(store) == [0]
        await lingering.record(3)

    assert numbers(store)[-1] == 3
    assert sorted(numbers(store)) == [0, 1, 2, 3]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_records_one_after_another_in_a_new_task_each_waits_for_company_once(
    store: FakeStore, keys: Keyspace, meter: WriteMeter
) -> None:
    callers = Callers(journal_with(WritePolicy(linger=0.2), store, keys, meter))
    began = anyio.current_time()
    for number in range(20):
        await asyncio.create_task(callers.record(number))

    assert anyio.current_time() - began < 1.0


async def test_to_have_recorded_before_a_task_began_does_not_make_the_task_impatient(
    store: FakeStore, lingering: Callers
) -> None:
    await lingering.record(0)
    async with anyio.create_task_group() as tasks:
        await start(tasks, lingering, range(1, 3))
        assert numbers(store) == [0]
        tasks.cancel_scope.cancel()


async def test_company_is_waited_for_no_longer_than_the_policy_says(
    store: FakeStore, keys: Keyspace, meter: WriteMeter
) -> None:
    callers = Callers(journal_with(WritePolicy(linger=0.05), store, keys, meter))
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        await start(tasks, callers, range(1, 8))

    assert 0.04 < anyio.current_time() - began < 5
    assert [len(append.payloads) for append in store.appends] == [1, 7]


async def test_without_linger_nobody_waits_for_company(store: FakeStore, keys: Keyspace, meter: WriteMeter) -> None:
    callers = Callers(journal_with(WritePolicy(linger=0), store, keys, meter))
    for number in range(3):
        async with anyio.create_task_group() as tasks:
            await start(tasks, callers, range(number, number + 1))

    assert [len(append.payloads) for append in store.appends] == [1, 1, 1]


async def test_flush_ends_the_wait_for_company(store: FakeStore, keys: Keyspace, meter: WriteMeter) -> None:
    journal = journal_with(WritePolicy(linger=1000.0), store, keys, meter)
    async with anyio.create_task_group() as tasks:
        await start(tasks, Callers(journal), range(1))
        await start(tasks, Callers(journal), range(1, 4))
        with anyio.fail_after(5):
            await journal.flush()

    assert len(numbers(store)) == 4


async def test_many_records_at_once_wait_for_no_company(store: FakeStore, keys: Keyspace, meter: WriteMeter) -> None:
    journal = journal_with(WritePolicy(linger=1000.0), store, keys, meter)
    with anyio.fail_after(5):
        await journal.record_many(facts(10))
        await journal.record_many(facts(10))

    assert len(numbers(store)) == 10


# -- callers that are cancelled

both_ways = pytest.mark.parametrize(
    ("anyio_backend", "way"), [("asyncio", "scope"), ("trio", "scope"), ("asyncio", "task")]
)


def start_cancellable(tasks: TaskGroup, way: str, callers: Callers, number: int) -> Callable[[], object]:
    """Let a caller begin; return what cancels it: anyio's scope, or asyncio's task itself."""
    if way == "task":
        return asyncio.get_running_loop().create_task(callers.record(number)).cancel
    scope = anyio.CancelScope()

    async def record() -> None:
        with scope:
            await callers.record(number)

    tasks.start_soon(record)
    return scope.cancel


@both_ways
@pytest.mark.parametrize("held", ["before_append", "after_append"])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("victims", [{0}, {1}, {3}, {1, 2}, {0, 1, 2, 3, 4}], ids=str)
async def test_a_cancelled_caller_takes_no_other_record_along(
    store: FakeStore, callers: Callers, journal: Journal, way: str, held: str, call: int, victims: set[int]
) -> None:
    gate = Gate(call)
    setattr(store, held, gate)
    async with anyio.create_task_group() as tasks:
        cancels = {0: start_cancellable(tasks, way, callers, 0)}
        await anyio.wait_all_tasks_blocked()
        cancels |= {number: start_cancellable(tasks, way, callers, number) for number in range(1, 6)}
        await gate.reached.wait()
        await anyio.wait_all_tasks_blocked()
        for victim in victims:
            cancels[victim]()
        await anyio.wait_all_tasks_blocked()
        gate.opened.set()
        await anyio.wait_all_tasks_blocked()
        await journal.flush()

    kept = numbers(store)
    assert kept == [number for number in callers.called if number in kept]
    assert set(kept) >= set(range(6)) - victims
    assert callers.returned >= set(range(6)) - victims


@both_ways
async def test_a_caller_that_is_cancelled_while_it_waits_for_its_turn_leaves_its_record(
    store: FakeStore, callers: Callers, way: str
) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        cancel = start_cancellable(tasks, way, callers, 1)
        await start(tasks, callers, range(2, 3))
        cancel()
        await anyio.wait_all_tasks_blocked()
        gate.opened.set()

    assert sorted(numbers(store)) == [0, 1, 2]
    assert numbers(store) == callers.called


@both_ways
async def test_a_batch_that_its_cancelled_caller_left_is_sent_again_under_its_mark(
    store: FakeStore, callers: Callers, way: str
) -> None:
    gate = store.after_append = Gate()
    async with anyio.create_task_group() as tasks:
        cancel = start_cancellable(tasks, way, callers, 0)
        await gate.reached.wait()
        cancel()
        await anyio.wait_all_tasks_blocked()
    await callers.record(1)

    assert [append.mark.first for append in store.appends] == [1, 1, 2]
    assert numbers(store) == [0, 1]


# -- flush


async def test_flush_waits_for_what_is_under_way(store: FakeStore, callers: Callers, journal: Journal) -> None:
    gate = store.before_append = Gate()
    flushed: list[set[int]] = []

    async def flush() -> None:
        await journal.flush()
        flushed.append(set(numbers(store)))

    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        await start(tasks, callers, range(1, 3))
        tasks.start_soon(flush)
        await anyio.wait_all_tasks_blocked()
        assert flushed == []
        gate.opened.set()

    assert flushed == [{0, 1, 2}]


async def test_flush_sends_what_a_cancelled_caller_left(store: FakeStore, callers: Callers, journal: Journal) -> None:
    store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        tasks.cancel_scope.cancel()

    await journal.flush()

    assert numbers(store) == [0]


async def test_with_nothing_under_way_flush_asks_nothing(store: FakeStore, journal: Journal) -> None:
    await journal.flush()

    assert store.appends == []


# -- many at once


def facts(count: int) -> list[dict[str, Any]]:
    """Return records of two kinds, in turn."""
    return [{"kind": ("event", "audit")[n % 2], "payload": n, "timestamp": NOW} for n in range(count)]


async def test_many_records_are_stored_in_order(store: FakeStore, journal: Journal) -> None:
    assert await journal.record_many(iter(facts(3001))) == 3001

    assert numbers(store) == list(range(0, 3001, 2))
    assert numbers(store, AUDIT_STREAM) == list(range(1, 3001, 2))


async def test_many_records_may_come_from_an_asynchronous_source(store: FakeStore, journal: Journal) -> None:
    async def source() -> AsyncIterator[dict[str, Any]]:
        for fact in facts(20):
            await anyio.lowlevel.checkpoint()
            yield fact

    assert await journal.record_many(source()) == 20
    assert numbers(store) == list(range(0, 20, 2))


async def test_of_many_records_a_few_batches_are_in_memory(
    store: FakeStore, journal: Journal, meter: WriteMeter
) -> None:
    waiting: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        for number in range(20_000):
            waiting.append(meter.queued)
            yield {"kind": "event", "payload": number, "timestamp": NOW}

    await journal.record_many(source())

    assert max(waiting) <= 3 * 500
    assert len(store.appends) < 100


async def test_what_comes_before_a_record_of_no_kind_is_stored(store: FakeStore, journal: Journal) -> None:
    with pytest.raises(UnknownKind):
        await journal.record_many([*facts(2), {"payload": "of no kind"}])

    assert (numbers(store), numbers(store, AUDIT_STREAM)) == ([0], [1])


async def test_a_source_that_fails_is_heard_of_once_what_it_gave_is_stored(store: FakeStore, journal: Journal) -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield from facts(2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await journal.record_many(source())

    assert numbers(store) == [0]


async def test_many_records_and_single_ones_keep_the_order_of_the_calls(
    store: FakeStore, journal: Journal, callers: Callers
) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        tasks.start_soon(journal.record_many, [{"kind": "event", "payload": 1, "timestamp": NOW}])
        await anyio.wait_all_tasks_blocked()
        await start(tasks, callers, range(2, 3))
        gate.opened.set()

    assert numbers(store) == [0, 1, 2]


# -- durability


async def test_without_more_being_asked_the_servers_memory_is_enough(store: FakeStore, journal: Journal) -> None:
    await journal.open()
    await journal.record(EVENTS, {"timestamp": NOW})

    assert store.appends[0].confirmation is None


@pytest.mark.parametrize(
    ("durability", "asked_for"),
    [("fsync", Confirmation(fsync=True, timeout_ms=250)), ("replicas=3", Confirmation(replicas=3, timeout_ms=250))],
)
async def test_more_is_asked_for_with_each_batch(
    store: FakeStore, keys: Keyspace, meter: WriteMeter, durability: str, asked_for: Confirmation
) -> None:
    policy = WritePolicy(durability=durability, durability_timeout=0.25)
    journal = journal_with(policy, store, keys, meter)
    await journal.open()
    await journal.record(EVENTS, {"timestamp": NOW})

    assert store.appends[0].confirmation == asked_for
    assert (meter.metrics.fsync_shortfalls, meter.metrics.replica_shortfalls) == (0, 0)


@pytest.mark.parametrize(
    ("durability", "shortfalls"), [("fsync", (2, 0)), ("replicas=1", (0, 2))], ids=["fsync", "replicas"]
)
@pytest.mark.parametrize(("on_shortfall", "lines"), [("log", 2), ("count", 0)])
async def test_a_confirmation_that_does_not_come_is_counted_and_logged_when_it_begins_and_ends(
    store: FakeStore,
    keys: Keyspace,
    meter: WriteMeter,
    caplog: pytest.LogCaptureFixture,
    durability: str,
    shortfalls: tuple[int, int],
    on_shortfall: Any,
    lines: int,
) -> None:
    journal = journal_with(WritePolicy(durability=durability, on_shortfall=on_shortfall), store, keys, meter)
    for confirms in (True, False, False, True, True):
        store.confirms = confirms
        await journal.record(EVENTS, {"timestamp": NOW})

    assert (meter.metrics.fsync_shortfalls, meter.metrics.replica_shortfalls) == shortfalls
    assert meter.metrics.records_written == len(store.payloads(STREAM)) == 5
    assert len([entry for entry in caplog.records if "confirmed" in entry.getMessage()]) == lines


async def test_a_server_that_cannot_tell_of_syncs_is_refused_at_opening(
    store: FakeStore, keys: Keyspace, meter: WriteMeter
) -> None:
    store.syncs = False

    with pytest.raises(UnsupportedOperation, match="appendonly yes"):
        await journal_with(WritePolicy(durability="fsync"), store, keys, meter).open()


async def test_a_server_that_is_away_at_opening_is_not_asked_whether_it_tells_of_syncs(
    store: FakeStore, keys: Keyspace, meter: WriteMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise Unavailable("The server is away.")

    monkeypatch.setattr(store, "capabilities", away)
    journal = journal_with(WritePolicy(durability="fsync"), store, keys, meter)
    await journal.open()
    await journal.record(EVENTS, {"timestamp": NOW})

    assert numbers(store) == [None]


# -- what it tells


async def test_it_tells_what_is_under_way(store: FakeStore, callers: Callers, meter: WriteMeter) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        await start(tasks, callers, range(1, 8))
        stats = meter.read()
        assert (stats.queued, stats.in_flight, stats.batches) == (8, 1, 0)
        assert stats.queued_bytes > 8 * 20
        gate.opened.set()

    stats = meter.read()
    assert (stats.queued, stats.queued_bytes, stats.in_flight, stats.batches) == (0, 0, 0, 2)
    assert (stats.batch_sizes.count, stats.batch_sizes.total, stats.batch_sizes.mean) == (2, 8, 4)
    assert stats.batch_sizes.counts[stats.batch_sizes.bounds.index(1)] == 1
    assert stats.batch_sizes.counts[stats.batch_sizes.bounds.index(10)] == 1
    assert stats.flush_latency.count == 2
    assert 0 < stats.flush_latency.mean < 60
