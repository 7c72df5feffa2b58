"""Writing: callers share round trips, in order, each record once, whatever happens to the server or to others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import orjson
import pytest
from anyio.abc import TaskGroup

from papyra_streams import StreamsMetrics
from papyra_streams.application import retrying
from papyra_streams.application.journal import Journal
from papyra_streams.application.retrying import RetryingStore
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import AUDITS, EVENTS
from papyra_streams.errors import Indeterminate, Unavailable

from .fakes import FakeStore

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
STREAM = "papyra:orders:events"


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
def journal(store: FakeStore, keys: Keyspace, metrics: StreamsMetrics) -> Journal:
    return Journal(store, keys, metrics, lambda: NOW)


@pytest.fixture
def callers(journal: Journal) -> Callers:
    return Callers(journal)


def numbers(store: FakeStore) -> list[int]:
    """Return what the stream of events holds."""
    return [orjson.loads(payload)["payload"] for payload in store.payloads(STREAM)]


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


async def test_each_batch_has_the_next_number_of_its_producer(store: FakeStore, callers: Callers) -> None:
    for number in range(3):
        await callers.record(number)

    assert [append.mark.sequence for append in store.appends] == [1, 2, 3]
    assert len({append.mark.key for append in store.appends}) == 1


async def test_two_journals_are_two_producers(store: FakeStore, keys: Keyspace) -> None:
    for _ in range(2):
        await Journal(store, keys, StreamsMetrics(), lambda: NOW).record(EVENTS, {"timestamp": NOW})

    assert len(store.payloads(STREAM)) == 2


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
async def test_a_caller_that_is_cancelled_before_its_record_was_sent_takes_it_back(
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

    assert numbers(store) == [0, 2]


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

    assert [append.mark.sequence for append in store.appends] == [1, 1, 2]
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


# -- a server that fails


async def test_a_record_that_cannot_be_stored_is_counted_and_never_raised(
    store: FakeStore, journal: Journal, metrics: StreamsMetrics
) -> None:
    store.refusals.append(Unavailable("The server is away."))
    await journal.record(EVENTS, {"timestamp": NOW})

    assert (metrics.write_errors, metrics.records_written, metrics.bytes_written) == (1, 0, 0)


async def test_every_record_of_a_lost_batch_is_counted(
    store: FakeStore, callers: Callers, metrics: StreamsMetrics
) -> None:
    gate = store.before_append = Gate()
    async with anyio.create_task_group() as tasks:
        await start(tasks, callers, range(1))
        await start(tasks, callers, range(1, 8))
        store.refusals += [Unavailable("The server is away.")] * 2
        gate.opened.set()

    assert metrics.write_errors == 8


async def test_an_outage_is_logged_once_and_so_is_its_end(
    store: FakeStore, callers: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="papyra_streams")
    store.refusals += [Unavailable("The server is away.")] * 3
    for number in range(5):
        await callers.record(number)

    assert [(entry.levelname, entry.getMessage()) for entry in caplog.records] == [
        ("ERROR", f"Records for {STREAM} are lost until further notice: The server is away."),
        ("WARNING", f"Records are stored again in {STREAM}; 3 were lost."),
    ]
    assert numbers(store) == [3, 4]


async def test_the_next_outage_is_logged_again(
    store: FakeStore, callers: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        store.refusals.append(Unavailable("The server is away."))
        await callers.record(number)
        await callers.record(number)

    assert len([entry for entry in caplog.records if entry.levelname == "ERROR"]) == 3


async def test_an_unforeseen_error_does_not_reach_the_caller_but_the_log(
    store: FakeStore, callers: Callers, metrics: StreamsMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    store.refusals.append(ZeroDivisionError("unforeseen"))
    await callers.record(1)
    await callers.record(2)

    (entry,) = [entry for entry in caplog.records if entry.levelname == "ERROR"]
    assert entry.exc_info is not None
    assert entry.exc_info[0] is ZeroDivisionError
    assert (metrics.write_errors, numbers(store)) == (1, [2])


async def test_a_batch_that_may_have_arrived_counts_as_lost_and_is_not_stored_twice(
    store: FakeStore, callers: Callers, metrics: StreamsMetrics
) -> None:
    store.after_append = raising_once(Indeterminate("No reply."))
    await callers.record(1)
    await callers.record(2)

    assert (metrics.write_errors, numbers(store)) == (1, [1, 2])


async def test_a_batch_whose_reply_was_lost_is_repeated_and_stored_once(
    store: FakeStore, keys: Keyspace, metrics: StreamsMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "delays", lambda: [0.0])
    store.after_append = raising_once(Indeterminate("No reply."))
    retries: list[None] = []
    journal = Journal(RetryingStore(store, on_append_retry=lambda: retries.append(None)), keys, metrics, lambda: NOW)
    await Callers(journal).record(1)

    assert numbers(store) == [1]
    assert (metrics.records_written, metrics.write_errors, len(retries)) == (1, 0, 1)


def raising_once(error: Exception) -> Callable[[], Awaitable[None]]:
    """Return what raises an error the first time it is called."""
    errors = [error]

    async def fail(*_: Any) -> None:
        if errors:
            raise errors.pop()

    return fail
