"""What Papyra and its users are promised, over the driver under test."""

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from papyra.persistence import PersistenceBackendContract, backend_capabilities, safe_metrics_snapshot
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistedAudit, PersistedDeadLetter, PersistedEvent, PersistenceRecoveryConfig

from papyra_streams import (
    AuthenticationFailed,
    ConfigurationError,
    GroupMissing,
    InvalidEntryId,
    PermissionDenied,
    RedisConsumerGroupConfig,
    RedisStreamsPersistence,
    StreamsError,
    Unavailable,
    UnknownKind,
    WritePolicy,
    WrongType,
)

from .backends import WORKERS, OpenBackend, add_raw, event, numbers, record_events
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

AUDIT = PersistedAudit("orders", 1.5, 3, 2, 1, 0, 1, ("orphan",), (), 4)
DEAD_LETTER = PersistedDeadLetter("orders", "orders:1", "str", {"text": "hello"}, 2.5)


async def test_it_is_a_backend_as_papyra_defines_one(backend: RedisStreamsPersistence) -> None:
    assert isinstance(backend, PersistenceBackendContract)
    capabilities = backend_capabilities(backend)
    assert capabilities.supports_scan
    assert capabilities.supports_recover
    assert capabilities.supports_compact
    assert capabilities.supports_metrics
    assert await backend.recover() is not None
    assert (await backend.compact()).before_records == 0


async def test_records_come_back_as_the_models_that_went_in(backend: RedisStreamsPersistence) -> None:
    await backend.record_event(event(1))
    await backend.record_audit(AUDIT)
    await backend.record_dead_letter(DEAD_LETTER)
    assert await backend.list_events() == (event(1),)
    assert await backend.list_audits() == (AUDIT,)
    assert await backend.list_dead_letters() == (DEAD_LETTER,)


async def test_plain_mappings_are_recorded_too(backend: RedisStreamsPersistence) -> None:
    await backend.record_event({"event_type": "ActorStarted", "actor_address": "orders:1", "timestamp": 5.0})
    await backend.record_audit({"total_actors": 7})
    await backend.record_dead_letter({"payload": "x"})
    assert await backend.list_events() == (PersistedEvent("orders", "orders:1", "ActorStarted", {}, 5.0),)
    assert [audit.total_actors for audit in await backend.list_audits()] == [7]
    assert [letter.payload for letter in await backend.list_dead_letters()] == ["x"]


async def test_concurrent_records_are_all_stored_once(backend: RedisStreamsPersistence) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(backend.record_event, event(number))
    assert sorted(await numbers(backend)) == list(range(300))
    assert safe_metrics_snapshot(backend)["records_written"] == 300


async def test_records_keep_the_order_of_the_calls_also_while_the_backend_opens(
    backend: RedisStreamsPersistence,
) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(backend.record_event, event(number))
            if number % 10 == 9:
                await anyio.lowlevel.checkpoint()
    assert await numbers(backend) == list(range(100))


async def test_since_and_limit_choose_among_the_newest(backend: RedisStreamsPersistence) -> None:
    for number in range(6):
        await backend.record_event(event(number, timestamp=1_750_000_000.0 + number))
    assert await numbers(backend, since=1_750_000_003.0) == [3, 4, 5]
    assert await numbers(backend, since=1_750_000_001.0, limit=2) == [4, 5]
    assert await numbers(backend, limit=0) == []


async def test_retention_is_applied_to_reads(open_backend: OpenBackend, wire: Wire, namespace: str) -> None:
    backend = open_backend(RetentionPolicy(max_records=3))
    await record_events(backend, 5)
    await add_raw(wire, f"{namespace}:orders:events", b"unreadable, so it does not count")
    assert await numbers(backend) == [2, 3, 4]


async def test_ensuring_a_group_twice_keeps_its_position(backend: RedisStreamsPersistence) -> None:
    await record_events(backend, 2)
    await backend.ensure_consumer_group(kind="events", group="workers", start_id="$")
    await backend.ensure_consumer_group(kind="events", group="workers", start_id="0")
    assert await backend.consume(kind="events", cfg=WORKERS) == ()


async def test_entries_are_pending_until_they_are_acknowledged(backend: RedisStreamsPersistence) -> None:
    await record_events(backend, 3)
    given = await backend.consume(kind="events", cfg=WORKERS)
    again = await backend.consume(kind="events", cfg=WORKERS, read_id="0")
    assert again == given
    summary = await backend.pending_summary(kind="events", group="workers")
    assert (summary.count, summary.min_id, summary.max_id) == (3, given[0].id, given[2].id)
    assert summary.consumers == {"worker-1": 3}
    assert summary["raw"]["consumers"] == [{"name": "worker-1", "pending": 3}]
    assert await backend.ack(kind="events", group="workers", ids=[entry.id for entry in given]) == 3
    assert await backend.ack(kind="events", group="workers", ids=[]) == 0
    assert await backend.consume(kind="events", cfg=WORKERS, read_id="0") == ()


async def test_another_consumer_claims_what_the_first_left(backend: RedisStreamsPersistence) -> None:
    await record_events(backend, 2)
    given = await backend.consume(kind="events", cfg=WORKERS)
    ids = [entry.id for entry in given]
    busy = await backend.claim("events", group="workers", consumer="worker-2", min_idle_ms=3_600_000, entry_ids=ids)
    taken = await backend.claim("events", group="workers", consumer="worker-2", min_idle_ms=0, entry_ids=ids)
    assert busy == []
    assert taken == list(given)
    assert (await backend.pending_summary(kind="events", group="workers")).consumers == {"worker-2": 2}


async def test_a_batch_of_unreadable_entries_is_not_mistaken_for_the_end(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    for _ in range(3):
        await add_raw(wire, f"{namespace}:orders:events", b"{")
    await backend.record_event(event(1))
    one_by_one = RedisConsumerGroupConfig(group="workers", consumer="worker-1", count=1, block_ms=0)
    assert len(await backend.consume(kind="events", cfg=one_by_one)) == 1
    assert await backend.consume(kind="events", cfg=one_by_one) == ()


async def test_a_deleted_entry_is_not_pending_for_ever(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    await record_events(backend, 2)
    first, second = await backend.consume(kind="events", cfg=WORKERS)
    await wire("XDEL", f"{namespace}:orders:events", first.id)
    assert await backend.consume(kind="events", cfg=WORKERS, read_id="0") == (second,)
    assert (await backend.pending_summary(kind="events", group="workers")).count == 1


async def test_a_group_that_vanished_is_made_again_unless_that_is_unwanted(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    await record_events(backend, 1)
    await backend.consume(kind="events", cfg=WORKERS)
    await wire("XGROUP", "DESTROY", f"{namespace}:orders:events", "workers")
    strict = RedisConsumerGroupConfig(group="workers", consumer="worker-1", block_ms=0, ensure_group=False)
    with pytest.raises(GroupMissing):
        await backend.consume(kind="events", cfg=strict)
    assert len(await backend.consume(kind="events", cfg=WORKERS)) == 1


async def test_consumers_share_the_entries_of_a_group(backend: RedisStreamsPersistence) -> None:
    await record_events(backend, 40)
    configs = [RedisConsumerGroupConfig("workers", f"worker-{n}", count=5, block_ms=0) for n in range(8)]
    shares = await asyncio.gather(*(backend.consume(kind="events", cfg=cfg) for cfg in configs))
    assert sorted(entry.data["payload"]["number"] for share in shares for entry in share) == list(range(40))


async def test_a_cancelled_consumer_loses_nothing(backend: RedisStreamsPersistence) -> None:
    patient = RedisConsumerGroupConfig(group="workers", consumer="worker-1", block_ms=5000)
    await backend.ensure_consumer_group(kind="events", group="workers")
    with anyio.move_on_after(0.05):
        await backend.consume(kind="events", cfg=patient)
    await record_events(backend, 5)
    found: list[int] = []
    while given := await backend.consume(kind="events", cfg=WORKERS):
        found += [entry.data["payload"]["number"] for entry in given]
    assert found == list(range(5))


async def test_closing_is_quick_and_may_be_repeated_while_a_consumer_waits(open_backend: OpenBackend) -> None:
    backend = open_backend()
    endless = RedisConsumerGroupConfig(group="workers", consumer="worker-1", block_ms=None)
    outcome: list[Exception] = []

    async def consume() -> None:
        try:
            await backend.consume(kind="events", cfg=endless)
        except StreamsError as error:
            outcome.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await backend.list_events()
        with anyio.fail_after(5.0):
            await backend.aclose()
            await backend.aclose()
    assert backend.closed
    assert len(outcome) == 1


async def test_one_backend_serves_several_event_loops_one_after_another(open_backend: OpenBackend) -> None:
    backend = open_backend()

    def use(number: int) -> list[int]:
        async def record_and_read() -> list[int]:
            await backend.record_event(event(number))
            return await numbers(backend)

        return asyncio.run(record_and_read())

    assert await asyncio.to_thread(use, 1) == [1]
    assert await asyncio.to_thread(use, 2) == [1, 2]
    assert await numbers(backend) == [1, 2]


BAD_CALLS: dict[str, tuple[type[StreamsError], str, dict[str, Any]]] = {
    "unknown kind": (UnknownKind, "ack", {"kind": "orders", "group": "g", "ids": ["1-0"]}),
    "malformed id to acknowledge": (InvalidEntryId, "ack", {"kind": "events", "group": "g", "ids": ["one"]}),
    "malformed id to claim": (
        InvalidEntryId,
        "claim",
        {"kind": "events", "group": "g", "consumer": "c", "min_idle_ms": 0, "entry_ids": ["1-x"]},
    ),
    "malformed id to read after": (InvalidEntryId, "consume", {"kind": "events", "cfg": WORKERS, "read_id": "$"}),
    "malformed start": (InvalidEntryId, "ensure_consumer_group", {"kind": "events", "group": "g", "start_id": "now"}),
    "empty group": (ConfigurationError, "pending_summary", {"kind": "events", "group": ""}),
    "one id instead of a list": (ConfigurationError, "ack", {"kind": "events", "group": "g", "ids": "1-0"}),
    "negative limit": (ConfigurationError, "list_events", {"limit": -1}),
    "negative idle time": (
        ConfigurationError,
        "claim",
        {"kind": "events", "group": "g", "consumer": "c", "min_idle_ms": -1, "entry_ids": ["1-0"]},
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
async def test_a_wrong_argument_is_told_apart(backend: RedisStreamsPersistence, case: str) -> None:
    expected, method, arguments = BAD_CALLS[case]
    with pytest.raises(expected):
        await getattr(backend, method)(**arguments)


async def test_a_key_of_another_type_is_told_apart_and_costs_no_actor_system(
    backend: RedisStreamsPersistence, wire: Wire, namespace: str
) -> None:
    await wire("SET", f"{namespace}:orders:events", "a string")
    with pytest.raises(WrongType, match="prefix"):
        await backend.list_events()
    with pytest.raises(WrongType):
        await backend.compact()
    await backend.record_event(event(1))
    assert backend.metrics.write_errors == 1
    assert backend.metrics.compaction_errors == 1


async def test_an_unreachable_server_is_told_apart(open_backend: OpenBackend) -> None:
    backend = open_backend(url="redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable, match="127.0.0.1:1"):
        await backend.scan(full=True)
    assert backend.metrics.scan_errors == 1
    await backend.record_event(event(1))
    assert backend.metrics.write_errors == 1


async def test_a_wrong_password_is_told_apart_and_not_repeated(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire
) -> None:
    await private_wire("CONFIG", "SET", "requirepass", SECRET)
    for password in (None, f"wrong-{SECRET}"):
        backend = open_backend(
            url=private_server.url_as(None, password),
            write_policy=WritePolicy(queue_seconds=0.2, close_timeout=0.2),
        )
        with pytest.raises(AuthenticationFailed) as raised:
            await backend.recover(PersistenceRecoveryConfig())
        assert SECRET not in repr(raised.value)
        await backend.record_event(event(1))
        assert backend.metrics.write_errors == 1
    assert await numbers(open_backend(url=private_server.url_as(None, SECRET))) == []


async def test_a_missing_permission_names_the_command(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire
) -> None:
    await private_wire(
        "ACL", "SETUSER", "reader", "on", f">{SECRET}", "~*", *private_server.rights, "+@connection", "+xrevrange"
    )
    backend = open_backend(url=private_server.url_as("reader", SECRET))
    assert await numbers(backend) == []
    with pytest.raises(PermissionDenied, match=r"(?i)xack"):
        await backend.ack(kind="events", group="workers", ids=["1-0"])
    await backend.record_event(event(1))
    assert backend.metrics.write_errors == 1


async def test_a_blip_of_the_connection_goes_unnoticed(backend: RedisStreamsPersistence, wire: Wire) -> None:
    await backend.record_event(event(1))
    await wire.everywhere("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await numbers(backend) == [1]
    await wire.everywhere("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await backend.record_event(event(2))
    assert await numbers(backend) == [1, 2]
