"""Papyra's startup modes, with a stream that is damaged, and with a server that is away, slow or strict."""

import time
from typing import Any

import pytest
from papyra import ActorSystem
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode
from papyra.persistence.startup import PersistenceStartupConfig, PersistenceStartupMode

from papyra_streams import (
    AuthenticationFailed,
    RedisStreamsPersistence,
    StreamsError,
    TimedOut,
    Unavailable,
    WritePolicy,
)

from .arranging import stored
from .backends import WORKERS, OpenBackend, add_raw, record_events
from .secrecy import SECRET
from .servers import LOCALHOST, PrivateServer, free_port
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

IGNORE, SCAN_ONLY, FAIL, RECOVER = (
    PersistenceStartupMode.IGNORE,
    PersistenceStartupMode.SCAN_ONLY,
    PersistenceStartupMode.FAIL_ON_ANOMALY,
    PersistenceStartupMode.RECOVER,
)
GOING_ON = [IGNORE, SCAN_ONLY]
RECOVERIES = [PersistenceRecoveryMode.REPAIR, PersistenceRecoveryMode.QUARANTINE, PersistenceRecoveryMode.REBUILD]

# Nobody waits here for records that cannot be stored.
HASTY = WritePolicy(queue_seconds=0.1, close_timeout=0.2)


async def start(
    backend: RedisStreamsPersistence, mode: PersistenceStartupMode, recovery: PersistenceRecoveryMode | None = None
) -> None:
    """Start an actor system and end it."""
    chosen = None if recovery is None else PersistenceRecoveryConfig(mode=recovery)
    startup = PersistenceStartupConfig(mode=mode, recovery=chosen)
    async with ActorSystem(persistence=backend, persistence_startup=startup):
        pass


def seconds_since(begun: float) -> float:
    return time.monotonic() - begun


# -- what is in the stream


@pytest.mark.parametrize("mode", [IGNORE, SCAN_ONLY, FAIL, RECOVER])
async def test_a_healthy_stream_lets_every_mode_start(
    backend: RedisStreamsPersistence, mode: PersistenceStartupMode
) -> None:
    await record_events(backend, 3)
    await start(backend, mode, PersistenceRecoveryMode.REPAIR)

    assert backend.metrics.scans == 1


@pytest.mark.parametrize("mode", GOING_ON)
async def test_a_bad_entry_is_left_alone_by_the_modes_that_go_on(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, mode: PersistenceStartupMode
) -> None:
    bad = await add_raw(wire, stream, b"{not json")
    await start(backend, mode)

    assert bad in map(str, await stored(wire, stream))


async def test_a_bad_entry_is_named_where_nothing_is_to_start_with_it(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    bad = await add_raw(wire, stream, b"{not json")

    with pytest.raises(RuntimeError, match=f"anomalies detected.*entry {bad}: not JSON"):
        await start(backend, FAIL)


@pytest.mark.parametrize("recovery", RECOVERIES)
async def test_a_recovery_takes_it_out_and_the_system_starts(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, recovery: PersistenceRecoveryMode
) -> None:
    await record_events(backend, 2)
    bad = await add_raw(wire, stream, b"{not json")
    gone = await _leave_pending_and_delete(backend, wire, stream)
    await start(backend, RECOVER, recovery)

    assert not {bad, gone} & set(map(str, await stored(wire, stream)))
    assert await wire("XPENDING", stream, "workers") == [0, None, None, None]


async def _leave_pending_and_delete(backend: RedisStreamsPersistence, wire: Wire, stream: str) -> str:
    given = await backend.consume(kind="events", cfg=WORKERS)
    await backend.ack(kind="events", group="workers", ids=[entry.id for entry in given[1:]])
    await wire("XDEL", stream, given[0].id)
    return given[0].id


@pytest.mark.parametrize("recovery", RECOVERIES)
async def test_retention_applies_at_the_end_of_it_but_not_to_what_a_group_needs(
    open_backend: OpenBackend, wire: Wire, stream: str, recovery: PersistenceRecoveryMode
) -> None:
    backend = open_backend(RetentionPolicy(max_records=2), approx_trim=False)
    await record_events(backend, 6)
    ids = await stored(wire, stream)
    await wire("XGROUP", "CREATE", stream, "slow", str(ids[2]))
    await add_raw(wire, stream, b"{not json")
    await backend.recover(PersistenceRecoveryConfig(mode=recovery))

    assert await stored(wire, stream) == ids[3:]


# -- a server that is away


@pytest.fixture
def lost(open_backend: OpenBackend) -> RedisStreamsPersistence:
    """Return a backend whose server is not there."""
    return open_backend(url=f"redis://{LOCALHOST}:{free_port()}/0", write_policy=HASTY)


@pytest.mark.parametrize("mode", GOING_ON)
async def test_without_a_server_the_modes_that_go_on_start(
    lost: RedisStreamsPersistence, mode: PersistenceStartupMode
) -> None:
    begun = time.monotonic()
    await start(lost, mode)

    assert seconds_since(begun) < 15
    assert lost.metrics.scan_errors == 1


async def test_without_a_server_nothing_starts_that_is_to_fail(lost: RedisStreamsPersistence) -> None:
    with pytest.raises(RuntimeError, match=f"the scan could not be made: .*{LOCALHOST}"):
        await start(lost, FAIL)


@pytest.mark.parametrize("recovery", RECOVERIES)
async def test_without_a_server_a_recovery_says_so(
    lost: RedisStreamsPersistence, recovery: PersistenceRecoveryMode
) -> None:
    with pytest.raises(Unavailable, match=LOCALHOST):
        await start(lost, RECOVER, recovery)


async def test_a_full_scan_without_a_server_raises(lost: RedisStreamsPersistence) -> None:
    with pytest.raises(Unavailable):
        await lost.scan(full=True)


# -- a server that does not answer


@pytest.fixture
def slow(open_backend: OpenBackend, private_server: PrivateServer) -> RedisStreamsPersistence:
    """Return a backend whose server was stopped, and which waits for it for half a second."""
    private_server.pause()
    return open_backend(url=private_server.url, startup_timeout=0.5, write_policy=HASTY)


@pytest.mark.parametrize("mode", GOING_ON)
async def test_a_slow_server_is_not_waited_for_for_long(
    slow: RedisStreamsPersistence, mode: PersistenceStartupMode
) -> None:
    begun = time.monotonic()
    await start(slow, mode)

    assert seconds_since(begun) < 5


async def test_a_slow_server_is_named_where_nothing_is_to_start_without_a_scan(slow: RedisStreamsPersistence) -> None:
    begun = time.monotonic()
    with pytest.raises(RuntimeError, match=r"the scan could not be made: .*startup_timeout.*0\.5 s"):
        await start(slow, FAIL)
    assert seconds_since(begun) < 5


async def test_a_recovery_on_a_slow_server_ends_in_time(slow: RedisStreamsPersistence) -> None:
    begun = time.monotonic()
    with pytest.raises(TimedOut, match="startup_timeout"):
        await start(slow, RECOVER, PersistenceRecoveryMode.REPAIR)
    assert seconds_since(begun) < 5


# -- a server that does not let us in


@pytest.mark.parametrize("mode", [IGNORE, SCAN_ONLY, FAIL, RECOVER])
async def test_a_wrong_password_keeps_those_from_starting_that_are_to_know(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire, mode: PersistenceStartupMode
) -> None:
    await private_wire("CONFIG", "SET", "requirepass", SECRET)
    backend = open_backend(url=private_server.url_as(None, f"wrong-{SECRET}"), write_policy=HASTY)
    error: Exception | None = None
    try:
        await start(backend, mode, PersistenceRecoveryMode.REPAIR)
    except (RuntimeError, StreamsError) as raised:
        error = raised

    expected: dict[PersistenceStartupMode, Any] = {FAIL: RuntimeError, RECOVER: AuthenticationFailed}
    assert type(error) is expected.get(mode, type(None))
    assert SECRET not in repr(error)
