"""What is under way when a caller or the backend ends is neither lost in silence nor left behind."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_asyncio

from papyra_streams import RedisConsumerGroupConfig, RedisStreamsConfig, RedisStreamsPersistence, WritePolicy
from papyra_streams.application import consuming

from .arranging import eventually, others
from .backends import WORKERS, add_raw, event, numbers, record_events
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

EVENTS = "papyra:local:events"


@pytest_asyncio.fixture(loop_scope="function")
async def ours(driver_name: str, private_server: PrivateServer) -> AsyncIterator[RedisStreamsPersistence]:
    """Return a backend on a server of its own, with one event recorded."""
    backend = await _opened(driver_name, private_server, WritePolicy())
    yield backend
    await backend.aclose()


async def _opened(driver_name: str, server: PrivateServer, policy: WritePolicy) -> RedisStreamsPersistence:
    config = RedisStreamsConfig(url=server.url, driver=driver_name, command_timeout=1.0, write_policy=policy)
    backend = RedisStreamsPersistence(config)
    await backend.record_event(event(0))
    return backend


async def _leave_record_under_way(backend: RedisStreamsPersistence, server: PrivateServer) -> None:
    """Pause the server, and cancel who records once the record was sent."""
    server.pause()
    recording = asyncio.create_task(backend.record_event(event(1)))
    await asyncio.sleep(0.05)
    recording.cancel()
    await asyncio.wait([recording])


async def test_closing_stores_a_record_whose_caller_was_cancelled(
    ours: RedisStreamsPersistence, private_server: PrivateServer, private_wire: Wire
) -> None:
    await _leave_record_under_way(ours, private_server)
    private_server.resume()
    await ours.aclose()
    assert await private_wire("XLEN", EVENTS) == 2
    assert ours.metrics.records_written == 2


async def test_a_record_that_cannot_be_stored_in_time_is_counted(
    driver_name: str, private_server: PrivateServer
) -> None:
    ours = await _opened(driver_name, private_server, WritePolicy(close_timeout=0.3))
    await _leave_record_under_way(ours, private_server)
    with anyio.fail_after(5.0):
        await ours.aclose()
    private_server.resume()
    assert ours.metrics.write_errors == 1


@pytest.mark.parametrize("way", ["task", "scope"])
async def test_a_cancelled_closing_leaves_no_connection(
    ours: RedisStreamsPersistence, private_server: PrivateServer, private_wire: Wire, way: str
) -> None:
    assert await others(private_wire) > 0
    await _leave_record_under_way(ours, private_server)
    if way == "task":
        closing = asyncio.create_task(ours.aclose())
        await asyncio.sleep(0.05)
        closing.cancel()
        await asyncio.wait([closing])
    else:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ours.aclose()
    private_server.resume()
    await ours.aclose()

    async def all_gone() -> bool:
        return await others(private_wire) == 0

    await eventually(all_gone)


async def test_who_closes_second_waits_for_the_first(
    ours: RedisStreamsPersistence, private_server: PrivateServer, private_wire: Wire
) -> None:
    await _leave_record_under_way(ours, private_server)
    first = asyncio.create_task(ours.aclose())
    await asyncio.sleep(0.05)
    second = asyncio.create_task(ours.aclose())
    await asyncio.sleep(0.05)
    assert not second.done()
    private_server.resume()
    await second
    assert first.done()
    assert await private_wire("XLEN", EVENTS) == 2


async def test_a_server_that_does_not_answer_is_given_up_in_bounded_time(
    driver_name: str, private_server: PrivateServer
) -> None:
    ours = await _opened(driver_name, private_server, WritePolicy(queue_seconds=0.5))
    private_server.pause()
    with anyio.fail_after(5.0):
        await ours.record_event(event(1))
    private_server.resume()
    assert (ours.metrics.write_errors, ours.metrics.write_retries) == (1, 0)
    await ours.aclose()


async def test_a_producers_mark_outlives_a_weekend_and_not_the_week(
    ours: RedisStreamsPersistence, private_wire: Wire
) -> None:
    (mark,) = await private_wire.keys("papyra:local:producer:*")
    lifetime_left = await private_wire("TTL", mark)
    assert isinstance(lifetime_left, int)
    assert 6 * 24 * 3600 < lifetime_left <= 7 * 24 * 3600
    assert ours.metrics.records_written == 1


async def test_a_consumer_cancelled_over_a_bad_entry_gets_the_good_ones_next(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    await backend.ensure_consumer_group(kind="events", group="workers")
    found: list[int] = []
    for number in range(40):
        await backend.record_event(event(number))
        await add_raw(wire, f"{namespace}:orders:events", b"{")
        consuming_task = asyncio.create_task(backend.consume(kind="events", cfg=WORKERS))
        await asyncio.sleep(number * 0.00005)
        consuming_task.cancel()
        await asyncio.wait([consuming_task])
        if not consuming_task.cancelled():
            found += [entry.data["payload"]["number"] for entry in consuming_task.result()]
    while given := await backend.consume(kind="events", cfg=WORKERS):
        found += [entry.data["payload"]["number"] for entry in given]
    assert found == list(range(40))


async def test_what_a_cancelled_read_left_is_handed_out_in_the_portions_asked_for(
    backend: RedisStreamsPersistence,
) -> None:
    await backend.ensure_consumer_group(kind="events", group="workers")
    patient = RedisConsumerGroupConfig(group="workers", consumer="worker-1", count=100, block_ms=5000)
    with anyio.move_on_after(0.05):
        await backend.consume(kind="events", cfg=patient)
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(backend.record_event, event(number))
    single = RedisConsumerGroupConfig(group="workers", consumer="worker-1", count=1, block_ms=0)
    given = [await backend.consume(kind="events", cfg=single) for _ in range(6)]
    assert [len(portion) for portion in given] == [1, 1, 1, 1, 1, 0]


async def test_two_callers_with_one_name_lose_nothing_between_them(backend: RedisStreamsPersistence) -> None:
    await backend.ensure_consumer_group(kind="events", group="workers")
    patient = RedisConsumerGroupConfig(group="workers", consumer="worker-1", count=3, block_ms=5000)
    with anyio.move_on_after(0.05):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(_consume_and_drop, backend, patient)
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(backend.record_event, event(number))
    single = RedisConsumerGroupConfig(group="workers", consumer="worker-1", count=1, block_ms=0)
    shares = [await asyncio.gather(*(backend.consume(kind="events", cfg=single) for _ in range(2))) for _ in range(4)]
    found = sorted(entry.data["payload"]["number"] for share in shares for portion in share for entry in portion)
    assert found == list(range(6))


async def _consume_and_drop(backend: RedisStreamsPersistence, cfg: RedisConsumerGroupConfig) -> None:
    await backend.consume(kind="events", cfg=cfg)


async def test_a_trickle_of_bad_entries_does_not_lengthen_the_wait(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    short = RedisConsumerGroupConfig(group="workers", consumer="worker-1", block_ms=300)

    enough = asyncio.Event()

    async def trickle() -> None:
        while not enough.is_set():
            await add_raw(wire, f"{namespace}:orders:events", b"{")
            await asyncio.sleep(0.1)

    trickling = asyncio.create_task(trickle())
    async with asyncio.timeout(2.0):
        assert await backend.consume(kind="events", cfg=short) == ()
    enough.set()
    await trickling


async def test_pending_entries_are_read_as_they_are_now_though_an_earlier_read_was_cancelled(
    backend: RedisStreamsPersistence,
) -> None:
    await record_events(backend, 3)
    given = await backend.consume(kind="events", cfg=WORKERS)
    for delay in range(10):
        reading = asyncio.create_task(backend.consume(kind="events", cfg=WORKERS, read_id="0"))
        await asyncio.sleep(delay * 0.0001)
        reading.cancel()
        await asyncio.wait([reading])
    await backend.ack(kind="events", group="workers", ids=[entry.id for entry in given])
    assert await backend.consume(kind="events", cfg=WORKERS, read_id="0") == ()


async def test_a_wait_without_limit_goes_on_after_a_long_one(
    backend: RedisStreamsPersistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "_LONG_BLOCK_MS", 50)
    endless = RedisConsumerGroupConfig(group="workers", consumer="worker-1", block_ms=None)
    waiting = asyncio.create_task(backend.consume(kind="events", cfg=endless))
    await asyncio.sleep(0.3)
    await backend.record_event(event(7))
    assert [entry.data["payload"]["number"] for entry in await waiting] == [7]
    assert await numbers(backend) == [7]


async def test_a_user_who_may_not_write_the_mark_stores_nothing(
    driver_name: str, private_server: PrivateServer, private_wire: Wire
) -> None:
    rights = ("+eval", "+evalsha", "+get", "+xadd", *private_server.rights)
    await private_wire("ACL", "SETUSER", "writer", "on", f">{SECRET}", "~*", *rights)
    config = RedisStreamsConfig(url=private_server.url_as("writer", SECRET), driver=driver_name)
    backend = RedisStreamsPersistence(config)
    await backend.record_event(event(1))
    assert backend.metrics.write_errors == 1
    assert await private_wire("XLEN", EVENTS) == 0
    await backend.aclose()
