"""Writing while the server is away: nobody is kept waiting, nothing is lost uncounted, and the order stays."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest

from papyra_streams import StreamsMetrics, WritePolicy
from papyra_streams.application.journal import Journal
from papyra_streams.application.metrics import WriteMeter
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import AUDITS, EVENTS
from papyra_streams.errors import (
    AuthenticationFailed,
    Closed,
    Indeterminate,
    OutOfMemory,
    PermissionDenied,
    SpoolCorrupt,
    SpoolFailed,
    StreamsError,
    Unavailable,
    WrongType,
)

from .fake_spool import FakeSpool
from .fakes import FakeStore

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
STREAM = "papyra:orders:events"
AWAY = Unavailable("The server is away.")
PATIENCE = 0.05
QUICK: dict[str, Any] = {"queue_seconds": PATIENCE, "close_timeout": 0.2, "backoff": 0.001, "backoff_limit": 0.005}

OUTAGES: list[StreamsError] = [AWAY, Indeterminate("No reply."), OutOfMemory("Full."), AuthenticationFailed("NOAUTH")]
REFUSALS: list[Exception] = [WrongType("No stream."), PermissionDenied("NOPERM"), ZeroDivisionError("unforeseen")]


@pytest.fixture
def meter() -> WriteMeter:
    return WriteMeter(StreamsMetrics())


@pytest.fixture
def metrics(meter: WriteMeter) -> StreamsMetrics:
    return meter.metrics


@pytest.fixture
def spool() -> FakeSpool:
    return FakeSpool()


Open = Callable[..., Journal]


@pytest.fixture
async def make(store: FakeStore, keys: Keyspace, meter: WriteMeter, spool: FakeSpool) -> AsyncIterator[Open]:
    """Return what makes a journal with a policy, and with a spool if it is to have one."""
    made: list[Journal] = []

    def open_journal(*, spooled: bool, **settings: float) -> Journal:
        chosen: dict[str, Any] = QUICK | settings
        policy = WritePolicy(spool_dir="unused" if spooled else None, **chosen)
        made.append(Journal(store, keys, policy, meter, lambda: NOW, spool if spooled else None))
        return made[-1]

    yield open_journal
    store.outage = spool.failure = None
    for journal in made:
        await journal.close()


async def record(journal: Journal, *numbers: int) -> None:
    for number in numbers:
        with anyio.fail_after(5):
            await journal.record(EVENTS, {"payload": number, "timestamp": NOW})


def numbers(store: FakeStore) -> list[int]:
    return [orjson.loads(payload)["payload"] for payload in store.payloads(STREAM)]


def in_spool(spool: FakeSpool) -> list[int]:
    return [orjson.loads(row.payload)["payload"] for row in spool.rows]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(entry.levelname, entry.getMessage()) for entry in caplog.records]


# -- a blip


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("spooled", [True, False], ids=["spool", "no-spool"])
async def test_what_passes_soon_is_waited_for(
    store: FakeStore, make: Open, metrics: StreamsMetrics, error: StreamsError, *, spooled: bool
) -> None:
    journal = make(spooled=spooled, queue_seconds=5.0)
    store.refusals += [error] * 3
    await record(journal, 1, 2)

    assert numbers(store) == [1, 2]
    assert (metrics.write_retries, metrics.write_errors, metrics.records_spooled) == (3, 0, 0)


async def test_a_blip_is_not_logged_and_a_longer_one_is(
    store: FakeStore, make: Open, caplog: pytest.LogCaptureFixture
) -> None:
    journal = make(spooled=False, queue_seconds=5.0)
    store.refusals.append(AWAY)
    await record(journal, 1)
    assert messages(caplog) == []
    store.refusals += [AWAY] * 4
    await record(journal, 2)

    assert messages(caplog) == [
        ("WARNING", f"Records for {STREAM} wait for the server: The server is away."),
        ("WARNING", f"Records are stored again in {STREAM}; 0 were lost."),
    ]


async def test_a_batch_whose_reply_was_lost_is_stored_once(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    store.after_append = raising_once(Indeterminate("No reply."))
    await record(make(spooled=False), 1, 2)

    assert numbers(store) == [1, 2]
    assert (metrics.records_written, metrics.records_deduplicated) == (2, 1)


# -- without a spool


async def test_a_record_that_has_waited_long_enough_is_dropped_and_counted(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=False)
    store.outage = AWAY
    await record(journal, 1)
    store.outage = None
    await record(journal, 2)

    assert numbers(store) == [2]
    assert (metrics.write_errors, metrics.records_dropped, metrics.records_written) == (1, 1, 1)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_what_does_not_go_away_by_waiting_is_not_waited_for(
    store: FakeStore, make: Open, metrics: StreamsMetrics, error: Exception
) -> None:
    journal = make(spooled=False, queue_seconds=1000.0)
    store.refusals.append(error)
    await record(journal, 1, 2)

    assert numbers(store) == [2]
    assert (metrics.records_dropped, metrics.write_retries) == (1, 0)


async def test_past_the_bound_the_oldest_are_dropped_and_the_newest_stored(
    store: FakeStore, make: Open, metrics: StreamsMetrics, meter: WriteMeter
) -> None:
    journal = make(spooled=False, queue_seconds=1000.0, queue_records=100)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for number in range(1000):
            tasks.start_soon(record, journal, number)
            await anyio.lowlevel.checkpoint()
        await until(lambda: metrics.records_dropped >= 900)
        assert meter.queued <= 100
        store.outage = None

    assert metrics.records_dropped + len(numbers(store)) == 1000
    assert len(numbers(store)) >= 90
    # The first was being sent when the server went away, and may arrive; of the others, the newest are there.
    assert set(numbers(store)) >= set(range(920, 1000))


async def test_the_bound_in_bytes_holds_too(
    store: FakeStore, make: Open, metrics: StreamsMetrics, meter: WriteMeter
) -> None:
    journal = make(spooled=False, queue_seconds=1000.0, queue_bytes=100_000)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(journal.record, EVENTS, {"payload": "x" * 5000, "timestamp": NOW})
            await anyio.lowlevel.checkpoint()
        await until(lambda: metrics.records_dropped >= 70)
        assert meter.queued_bytes <= 100_000
        store.outage = None


async def test_past_the_bound_a_busy_stream_gives_way_to_a_quiet_one(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=False, queue_seconds=1000.0, queue_records=100)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(record, journal, number)
            await anyio.lowlevel.checkpoint()
        await until(lambda: metrics.records_dropped >= 190)
        for number in range(5):
            tasks.start_soon(journal.record, AUDITS, {"payload": number, "timestamp": NOW})
        await anyio.wait_all_tasks_blocked()
        store.outage = None

    assert len(store.payloads("papyra:orders:audits")) == 5


async def test_a_server_that_is_well_may_be_behind_by_more_than_the_bound(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=False, queue_records=10)
    async with anyio.create_task_group() as tasks:
        for number in range(500):
            tasks.start_soon(record, journal, number)

    assert len(numbers(store)) == 500
    assert metrics.records_dropped == 0


async def test_what_grew_old_behind_a_batch_that_was_dropped_is_dropped_with_it(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=False)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(record, journal, number)

    assert metrics.records_dropped == 50


async def test_a_loss_is_logged_when_it_begins_and_when_it_ends(
    store: FakeStore, make: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="papyra_streams")
    journal = make(spooled=False)
    store.outage = AWAY
    await record(journal, 1, 2, 3)
    store.outage = None
    await record(journal, 4, 5)

    assert messages(caplog) == [
        ("WARNING", f"Records for {STREAM} wait for the server: The server is away."),
        ("ERROR", f"Records for {STREAM} are lost until further notice: The server is away."),
        ("WARNING", f"Records are stored again in {STREAM}; 3 were lost."),
    ]


async def test_an_unforeseen_error_is_logged_with_its_traceback(
    store: FakeStore, make: Open, caplog: pytest.LogCaptureFixture
) -> None:
    store.refusals.append(ZeroDivisionError("unforeseen"))
    await record(make(spooled=False), 1)

    (entry,) = caplog.records
    assert entry.exc_info is not None
    assert entry.exc_info[0] is ZeroDivisionError


# -- with a spool


async def test_past_its_time_a_record_goes_to_the_spool_and_later_ones_at_once(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics, meter: WriteMeter
) -> None:
    journal = make(spooled=True, backoff=1000.0, backoff_limit=1000.0)
    store.outage = AWAY
    await record(journal, 1)
    began = anyio.current_time()
    await record(journal, 2, 3)

    assert anyio.current_time() - began < PATIENCE
    assert in_spool(spool) == [1, 2, 3]
    assert (metrics.records_spooled, meter.read().spooled, metrics.write_errors) == (3, 3, 0)


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
async def test_what_was_spooled_comes_before_what_is_newer(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics, meter: WriteMeter, error: StreamsError
) -> None:
    journal = make(spooled=True)
    store.outage = error
    await record(journal, *range(5))
    store.outage = None
    await record(journal, *range(5, 10))
    await until(lambda: len(numbers(store)) == 10)
    await until(lambda: not spool.leads)
    await record(journal, *range(10, 15))

    assert numbers(store) == list(range(15))
    assert in_spool(spool) == []
    assert metrics.records_replayed == metrics.records_spooled >= 5
    assert (metrics.records_written, meter.read().spooled) == (15, 0)


async def test_records_under_load_are_in_order_through_an_outage(
    store: FakeStore, make: Open, spool: FakeSpool
) -> None:
    journal = make(spooled=True, queue_seconds=0.01)
    called: list[int] = []

    async def call(number: int) -> None:
        called.append(number)
        await record(journal, number)

    async with anyio.create_task_group() as tasks:
        for number in range(600):
            store.outage = AWAY if 100 <= number < 300 or 400 <= number < 450 else None
            tasks.start_soon(call, number)
            await anyio.sleep(0.0005)
    await until(lambda: not spool.rows)

    assert sorted(called) == list(range(600))
    assert numbers(store) == called


async def test_a_batch_that_may_have_arrived_is_not_stored_again_from_the_spool(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    async def reply_is_lost() -> None:
        store.outage = AWAY
        store.after_append = nothing
        raise Indeterminate("No reply.")

    journal = make(spooled=True)
    store.after_append = reply_is_lost
    await record(journal, 1, 2)
    store.outage = None
    await until(lambda: len(numbers(store)) == 2)

    assert numbers(store) == [1, 2]
    assert metrics.records_deduplicated == 1


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_what_is_refused_goes_to_the_spool_with_one_line(
    store: FakeStore,
    make: Open,
    spool: FakeSpool,
    metrics: StreamsMetrics,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    journal = make(spooled=True, queue_seconds=1000.0)
    store.outage = error
    await record(journal, 1, 2, 3)
    await until(lambda: metrics.write_retries >= 3)
    lines = messages(caplog)
    store.outage = None
    await until(lambda: not spool.rows)

    assert lines == [("ERROR", f"Records for {STREAM} go to the spool: {error}")]
    assert numbers(store) == [1, 2, 3]


async def test_past_the_bound_the_batch_under_way_is_spooled_before_its_time(
    store: FakeStore, make: Open, spool: FakeSpool, meter: WriteMeter
) -> None:
    journal = make(spooled=True, queue_seconds=1000.0, queue_records=100)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for number in range(500):
            tasks.start_soon(record, journal, number)

    assert len(spool.rows) == 500
    assert meter.queued == 0


async def test_a_server_that_does_not_answer_is_not_waited_for(store: FakeStore, make: Open, spool: FakeSpool) -> None:
    async def hang() -> None:
        await anyio.sleep_forever()

    store.before_append = hang
    journal = make(spooled=True)
    await record(journal, 1, 2)

    assert in_spool(spool) == [1, 2]


async def test_what_an_earlier_process_left_comes_first(
    store: FakeStore, make: Open, spool: FakeSpool, meter: WriteMeter
) -> None:
    spool.leave(STREAM, "other", [b'{"payload": 1}', b'{"payload": 2}'])
    journal = make(spooled=True)
    await journal.open()
    assert meter.read().spooled == 2
    await record(journal, 3)
    await until(lambda: not spool.rows)

    assert numbers(store) == [1, 2, 3]


async def test_several_producers_records_get_through_a_server_whose_every_second_reply_is_lost(
    store: FakeStore, make: Open, spool: FakeSpool, caplog: pytest.LogCaptureFixture
) -> None:
    async def every_second() -> None:
        if len(store.appends) % 2:
            raise Indeterminate("No reply.")

    for number in range(5):
        spool.leave(
            STREAM, f"producer-{number}", [b'{"payload": %d}' % n for n in range(number * 10, number * 10 + 10)]
        )
    store.after_append = every_second
    await make(spooled=True).open()
    await until(lambda: not spool.rows)

    assert sorted(numbers(store)) == list(range(50))
    assert len(store.appends) == 10
    await until(lambda: len(caplog.records) > 0)
    assert messages(caplog) == [("WARNING", f"The spool of {STREAM} is empty; 50 records went to the server.")]


async def test_records_wait_for_who_empties_the_spool_elsewhere(
    store: FakeStore, make: Open, spool: FakeSpool, meter: WriteMeter
) -> None:
    spool.may_lead = False
    journal = make(spooled=True)
    store.outage = AWAY
    await record(journal, 1)
    store.outage = None
    await record(journal, 2)
    assert in_spool(spool) == [1, 2]
    spool.rows.clear()
    await record(journal, 3)

    assert numbers(store) == [3]
    await until(lambda: meter.read().spooled == 0)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_what_is_refused_only_when_it_is_replayed_is_logged_once_too(
    store: FakeStore,
    make: Open,
    spool: FakeSpool,
    metrics: StreamsMetrics,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    spool.leave(STREAM, "other", [b'{"payload": 1}'])
    store.outage = error
    await make(spooled=True).open()
    await until(lambda: metrics.write_retries >= 3)

    assert messages(caplog) == [("ERROR", f"Records for {STREAM} stay in the spool until this is mended: {error}")]


async def test_an_outage_and_its_end_are_logged_once(
    store: FakeStore, make: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="papyra_streams")
    journal = make(spooled=True)
    store.outage = AWAY
    await record(journal, 1, 2, 3)
    store.outage = None
    await until(lambda: len(messages(caplog)) == 3)

    assert messages(caplog) == [
        ("WARNING", f"Records for {STREAM} wait for the server: The server is away."),
        ("WARNING", f"Records for {STREAM} go to the spool: The server is away."),
        ("WARNING", f"The spool of {STREAM} is empty; 3 records went to the server."),
    ]


# -- a spool that fails

FULL = SpoolFailed("The disk is full.")


async def test_a_spool_that_is_full_costs_what_does_not_fit_and_a_line(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    journal = make(spooled=True)
    store.outage, spool.failure = AWAY, FULL
    await record(journal, 1, 2)
    spool.failure = None
    await record(journal, 3)
    store.outage = None
    await until(lambda: not spool.rows)

    assert numbers(store) == [3]
    assert (metrics.records_dropped, metrics.spool_errors >= 2) == (2, True)
    assert next(message for level, message in messages(caplog) if level == "ERROR") == f"The spool fails: {FULL}"


async def test_where_the_spool_fails_a_record_waits_as_long_as_without_one(
    store: FakeStore, make: Open, spool: FakeSpool
) -> None:
    journal = make(spooled=True, queue_seconds=None)
    store.outage, spool.failure = AWAY, FULL
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, journal, 1)
        await anyio.sleep(1.5)  # longer than a spool that works lets a record wait, which is what this is about
        store.outage = spool.failure = None

    assert anyio.current_time() - began < 4
    assert numbers(store) == [1]


async def test_a_directory_that_cannot_be_used_is_told_of_before_the_first_outage(
    make: Open, spool: FakeSpool, metrics: StreamsMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    spool.failure = SpoolFailed("Permission denied.")
    await make(spooled=True).open()

    assert messages(caplog) == [("ERROR", f"The spool fails: {spool.failure}")]
    assert metrics.spool_errors >= 1


async def test_a_disk_that_is_full_by_turns_is_told_of_once(
    store: FakeStore, make: Open, spool: FakeSpool, caplog: pytest.LogCaptureFixture
) -> None:
    journal = make(spooled=True)
    store.outage = AWAY
    for number in range(6):
        spool.failure = FULL if number % 2 else None
        await record(journal, number)

    assert len([message for _, message in messages(caplog) if "spool fails" in message]) == 1


async def test_a_spool_that_fills_up_keeps_what_it_has_and_its_order(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=True)
    store.outage = AWAY
    await record(journal, 1, 2)
    spool.failure = FULL
    await record(journal, 3)
    spool.failure = None
    await record(journal, 4)
    store.outage = None
    await until(lambda: not spool.rows)

    assert numbers(store) == [1, 2, 4]
    assert metrics.records_dropped == 1


async def test_past_the_bound_with_a_spool_that_fails_the_oldest_are_dropped(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics, meter: WriteMeter
) -> None:
    journal = make(spooled=True, queue_seconds=1.0, queue_records=100)
    store.outage, spool.failure = AWAY, FULL
    async with anyio.create_task_group() as tasks:
        for number in range(500):
            tasks.start_soon(record, journal, number)
        await until(lambda: metrics.records_dropped >= 380)
        assert meter.queued <= 120
        store.outage = spool.failure = None

    assert metrics.records_dropped + metrics.records_written == 500


async def test_what_went_to_the_server_and_cannot_be_removed_is_not_waited_for(
    store: FakeStore, make: Open, spool: FakeSpool, monkeypatch: pytest.MonkeyPatch, metrics: StreamsMetrics
) -> None:
    remove = spool.remove

    async def fail(stream: str, *, up_to: int) -> None:
        await remove(stream, up_to=up_to)
        raise FULL

    monkeypatch.setattr(spool, "remove", fail)
    journal = make(spooled=True)
    store.outage = AWAY
    await record(journal, 1)
    store.outage = None
    await until(lambda: len(numbers(store)) == 1)
    await record(journal, 2)

    assert numbers(store) == [1, 2]
    assert metrics.spool_errors == 1


async def test_an_unforeseen_error_of_the_spool_reaches_the_log_and_nobody_else(
    store: FakeStore,
    make: Open,
    spool: FakeSpool,
    monkeypatch: pytest.MonkeyPatch,
    metrics: StreamsMetrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    for verb in ("put", "holds", "newest", "lead", "oldest"):
        monkeypatch.setattr(spool, verb, fail)
    journal = make(spooled=True)
    await journal.open()
    store.outage = AWAY
    await record(journal, 1)
    store.outage = None
    await record(journal, 2)

    assert numbers(store) == [2]
    assert metrics.records_dropped == 1
    assert any(entry.exc_info and entry.exc_info[0] is RuntimeError for entry in caplog.records)


async def test_a_cancelled_caller_leaves_its_record_on_its_way_to_the_disk(
    store: FakeStore,
    make: Open,
    spool: FakeSpool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put = spool.put
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow(stream: str, producer: str, first: int, payloads: Sequence[bytes]) -> None:
        begun.set()
        await go_on.wait()
        await put(stream, producer, first, payloads)

    monkeypatch.setattr(spool, "put", slow)
    journal = make(spooled=True)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, journal, 1)
        await begun.wait()
        tasks.cancel_scope.cancel()
    go_on.set()
    store.outage = None
    await record(journal, 2)
    await until(lambda: not spool.rows)
    await journal.close()

    assert numbers(store) == [1, 2]
    assert ("WARNING", f"Records for {STREAM} go to the spool: {AWAY}") in messages(caplog)


async def test_what_a_cancelled_caller_left_on_its_way_to_the_disk_is_counted_for_what_became_of_it(
    store: FakeStore,
    make: Open,
    spool: FakeSpool,
    monkeypatch: pytest.MonkeyPatch,
    meter: WriteMeter,
) -> None:
    begun, go_on, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def fail(*_: object) -> None:
        begun.set()
        await go_on.wait()
        ended.set()
        raise SpoolFailed("The disk is full.")

    monkeypatch.setattr(spool, "put", fail)
    journal = make(spooled=True)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, journal, 1)
        await begun.wait()
        assert meter.read().spooled == 1
        tasks.cancel_scope.cancel()
    store.outage = None
    go_on.set()
    await ended.wait()
    await record(journal, 2)
    await journal.close()

    assert meter.read().spooled == 0
    assert meter.metrics.spool_errors == 1
    assert numbers(store) == [1, 2]


async def test_callers_in_a_loop_wait_for_the_spool_to_be_emptied_and_then_write_directly(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=True, queue_seconds=0.5)
    store.before_append = anyio.lowlevel.checkpoint
    store.outage = AWAY
    enough = False

    async def call(caller: int) -> None:
        number = 0
        while not enough:
            await record(journal, caller * 1_000_000 + number)
            number += 1

    async with anyio.create_task_group() as tasks:
        for caller in range(20):
            tasks.start_soon(call, caller)
        await until(lambda: metrics.records_spooled > 100)
        store.outage = None
        await until(lambda: not spool.rows)
        spooled = metrics.records_spooled
        stored = metrics.records_written
        await until(lambda: metrics.records_written > stored + 1000)
        assert metrics.records_spooled == spooled
        enough = True

    assert len(set(numbers(store))) == len(numbers(store)) == metrics.records_written


async def test_while_another_process_gets_on_with_emptying_the_spool_records_wait(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics
) -> None:
    spool.may_lead = False
    journal = make(spooled=True, queue_seconds=3.0)
    spool.leave(STREAM, "other", [b'{"payload": 0}'] * 1000)
    await journal.open()

    async def empty() -> None:
        while spool.rows:
            del spool.rows[:50]
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(empty)
        await anyio.sleep(1.0)  # until it has been seen that it gets on
        await record(journal, 1)

    assert numbers(store) == [1]
    assert metrics.records_spooled == 0


async def test_a_spool_that_was_given_up_and_mended_loses_nothing(
    store: FakeStore, make: Open, spool: FakeSpool
) -> None:
    journal = make(spooled=True)
    store.outage = AWAY
    await record(journal, 1, 2)
    rows, spool.failure = list(spool.rows), SpoolCorrupt("The file is damaged.")
    await record(journal, 3)
    store.outage = None
    await record(journal, 4)
    await journal.close()
    mended = FakeSpool()
    mended.rows = rows
    await journal_over(store, mended, WritePolicy(spool_dir="unused"))

    assert sorted(set(numbers(store)) - {3}) == [1, 2, 4]


async def test_a_spool_that_is_corrupt_is_given_up_and_what_is_in_it_counted_as_dropped(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=True)
    store.outage = AWAY
    await record(journal, 1, 2)
    spool.failure = SpoolCorrupt("The file is damaged.")
    await until(lambda: metrics.spool_errors > 0)
    store.outage = None
    await record(journal, 3, 4)

    assert numbers(store) == [3, 4]
    assert (metrics.records_dropped, metrics.spool_errors) == (2, 1)


async def test_a_spool_that_is_corrupt_at_the_start_does_not_keep_it_from_starting(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics
) -> None:
    spool.failure = SpoolCorrupt("The file is damaged.")
    journal = make(spooled=True)
    await journal.open()
    await record(journal, 1)

    assert numbers(store) == [1]
    assert metrics.spool_errors == 1


# -- closing


async def test_closing_puts_what_the_server_does_not_take_on_disk(
    store: FakeStore, make: Open, spool: FakeSpool
) -> None:
    journal = make(spooled=True, queue_seconds=1000.0, close_timeout=0.05)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(record, journal, number)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(2):
            await journal.close()

    assert sorted(in_spool(spool)) == list(range(20))
    assert spool.is_closed


async def test_closing_without_a_spool_drops_what_the_server_does_not_take(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=False, queue_seconds=1000.0, close_timeout=0.05)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(record, journal, number)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(2):
            await journal.close()

    assert metrics.records_dropped == 20


async def test_closing_ends_a_call_that_the_server_does_not_answer(
    store: FakeStore, make: Open, metrics: StreamsMetrics
) -> None:
    journal = make(spooled=False, queue_seconds=1000.0, close_timeout=0.05)
    store.before_append = anyio.sleep_forever
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, journal, 1)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(2):
            await journal.close()

    assert metrics.records_dropped == 1


async def test_closing_empties_the_spool_if_the_server_takes_what_is_in_it(store: FakeStore, make: Open) -> None:
    journal = make(spooled=True, backoff=1000.0, backoff_limit=1000.0, close_timeout=2.0)
    store.outage = AWAY
    await record(journal, 1, 2)
    await until(lambda: len(store.appends) >= 2)
    store.outage = None
    await journal.close()

    assert numbers(store) == [1, 2]


async def test_closing_empties_the_spool_that_another_process_has_just_left(
    store: FakeStore, make: Open, spool: FakeSpool
) -> None:
    spool.may_lead = False
    journal = make(spooled=True, backoff_limit=1000.0)
    store.outage = AWAY
    await record(journal, 1, 2)
    await anyio.wait_all_tasks_blocked()
    store.outage = None
    spool.may_lead = True
    await journal.close()

    assert numbers(store) == [1, 2]


async def test_closing_tries_a_disk_that_hangs_once(
    store: FakeStore, make: Open, spool: FakeSpool, metrics: StreamsMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    async def hang(stream: str, *_: object) -> None:
        tries.append(stream)
        await anyio.sleep(0.1)
        raise SpoolFailed("The database is locked.")

    monkeypatch.setattr(spool, "put", hang)
    journal = make(spooled=True, queue_seconds=1000.0, close_timeout=0.05, queue_records=100)
    store.outage = AWAY
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(record, journal, number)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(2):
            await journal.close()

    assert len(tries) == 1
    assert metrics.records_dropped == 50


@pytest.mark.parametrize("spooled", [True, False], ids=["spool", "no-spool"])
async def test_closing_ends_a_source_that_has_no_end(store: FakeStore, make: Open, *, spooled: bool) -> None:
    journal = make(spooled=spooled)
    taken: list[int] = []
    raised: list[type[Exception]] = []

    async def endless() -> AsyncGenerator[dict[str, Any], None]:
        while True:
            taken.append(len(taken))
            await anyio.lowlevel.checkpoint()
            yield {"kind": "event", "payload": taken[-1], "timestamp": NOW}

    async def record_all() -> None:
        async with aclosing(endless()) as source:
            try:
                await journal.record_many(source)
            except Closed as error:
                raised.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record_all)
        await until(lambda: len(taken) > 2000)
        with anyio.fail_after(2):
            await journal.close()

    assert raised == [Closed]
    assert numbers(store) == taken[:-1]


@pytest.mark.parametrize("spooled", [True, False], ids=["spool", "no-spool"])
async def test_a_record_that_comes_after_closing_is_counted(
    make: Open, metrics: StreamsMetrics, *, spooled: bool
) -> None:
    journal = make(spooled=spooled)
    await journal.close()
    await record(journal, 1)

    assert (metrics.records_dropped, metrics.write_errors) == (1, 1)


async def test_closing_does_not_wait_for_a_server_that_does_not_take_what_is_in_the_spool(
    store: FakeStore, make: Open, spool: FakeSpool
) -> None:
    journal = make(spooled=True, close_timeout=1000.0)
    store.outage = AWAY
    await record(journal, 1, 2)
    with anyio.fail_after(2):
        await journal.close()

    assert in_spool(spool) == [1, 2]


async def journal_over(store: FakeStore, spool: FakeSpool, policy: WritePolicy) -> None:
    """Let a new process find a spool, and empty it."""
    journal = Journal(store, Keyspace("papyra", "orders"), policy, WriteMeter(StreamsMetrics()), lambda: NOW, spool)
    await journal.open()
    await until(lambda: not spool.rows)
    await journal.close()


async def nothing() -> None:
    """Wait for nothing."""


def raising_once(error: Exception) -> Callable[[], Awaitable[None]]:
    """Return what raises an error the first time it is called."""
    errors = [error]

    async def fail() -> None:
        if errors:
            raise errors.pop()

    return fail
