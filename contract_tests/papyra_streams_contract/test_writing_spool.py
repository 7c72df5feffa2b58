"""The spool outlives its process, is shared, and may itself be full, read-only or damaged."""

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from papyra_streams import WritePolicy

from .arranging import eventually
from .backends import OpenBackend, record_events
from .faults.accounts import Account, settle, stored_numbers
from .faults.actor_process import Summary
from .faults.arranging import living_on
from .faults.checking import STREAMS, check_first_comes_first, check_lost_are_counted
from .faults.processes import ActorProcess, ActorProcesses
from .fixtures import MakePrivateServer
from .servers import PrivateServer

pytestmark = pytest.mark.asyncio(loop_scope="function")

EVENTS, DEAD_LETTERS = STREAMS
ONE_BATCH = 500
_SQLITE = b"SQLite format 3\x00"


@pytest.fixture
def server(make_private_server: MakePrivateServer) -> PrivateServer:
    """Return a server that keeps its data."""
    return make_private_server(keeps_data=True)


@pytest.fixture
def processes(server: PrivateServer, driver_name: str, tmp_path: Path) -> Iterator[ActorProcesses]:
    """Return what starts processes that share a spool."""
    with ActorProcesses(tmp_path, server, driver_name) as started:
        yield started


async def check_noted(server: PrivateServer, *noted: ActorProcess) -> None:
    """Check that every event a process noted is in the stream once and in order, and no dead letter twice."""
    for process in noted:
        ledger = process.ledger()
        stored = await stored_numbers(server.endpoint, EVENTS, first=ledger.first)
        assert settle(ledger, stored) == Account(), process.log
        letters = await stored_numbers(server.endpoint, DEAD_LETTERS, first=ledger.first)
        assert letters == sorted(set(letters)), process.log


async def test_what_a_killed_process_left_is_stored_by_the_next_before_its_own(
    server: PrivateServer, processes: ActorProcesses
) -> None:
    first = await processes.start()
    await first.returned_more(100)
    server.kill()
    await first.returned_more(500)
    first.kill()
    second = await processes.start()
    await second.returned_more(200)
    server.start()
    await second.returned_more(500)
    summary = await second.end()
    assert summary.dropped == 0
    await check_noted(server, first, second)
    await check_first_comes_first(server.endpoint)


async def test_two_processes_share_a_spool(server: PrivateServer, processes: ActorProcesses) -> None:
    sharing = [await processes.start() for _ in range(2)]
    server.kill()
    for process in sharing:
        await process.returned_more(300)
    server.start()
    await caught_up(server, *sharing)
    for process in sharing:
        summary = await process.end()
        assert summary.spooled > 0
        assert summary.dropped == 0
    await check_noted(server, *sharing)


async def test_one_of_two_processes_is_killed_and_the_other_stores_what_both_left(
    server: PrivateServer, processes: ActorProcesses
) -> None:
    killed, living = [await processes.start() for _ in range(2)]
    server.kill()
    for process in (killed, living):
        await process.returned_more(300)
    killed.kill()
    server.start()
    await caught_up(server, killed, living)
    assert (await living.end()).dropped == 0
    await check_noted(server, killed, living)


async def caught_up(server: PrivateServer, *processes: ActorProcess) -> None:
    """Wait until nothing that the processes note needs more than a second to get to the stream."""

    async def have() -> bool:
        noted = set().union(*(process.returned for process in processes))
        with anyio.move_on_after(1.0):
            while not noted <= set(await stored_numbers(server.endpoint, EVENTS)):
                await anyio.sleep(0.1)
            return True
        return False

    await eventually(have, within=15.0)


async def test_a_spool_that_has_reached_its_bound_costs_what_is_counted(
    server: PrivateServer, driver_name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = living_on(server.url, driver_name, tmp_path / "spool", spool_bytes=256 * 1024, queue_seconds=1.0)
    async with run.at_work():
        await run.returned(200)
        server.kill()
        await run.until(lambda: run.backend.metrics.records_dropped >= 200)
        await run.returned(200)
        await server.start_beside()
        await run.recovered()
    assert run.backend.metrics.spool_errors > 0
    assert run.backend.metrics.records_replayed > 100
    assert len(_said(caplog)) < 20
    await check_lost_are_counted(run, server.endpoint, uncertain=ONE_BATCH)


async def test_a_full_disk_costs_what_is_counted(server: PrivateServer, processes: ActorProcesses) -> None:
    process = await processes.start(largest_file=512 * 1024, spool_bytes=2 * 1024 * 1024)
    server.kill()
    # More than fits.
    await process.returned_more(1800)
    server.start()
    await process.returned_more(500)
    summary = await process.end()
    assert summary.spooled > 100
    assert summary.spool_errors > 0
    assert summary.dropped > 0
    await check_dropped_are_counted(server, process, summary)


async def check_dropped_are_counted(server: PrivateServer, process: ActorProcess, summary: Summary) -> None:
    """Check that each record of a process that has ended is in its stream once and in order, or counted as dropped."""
    ledger = process.ledger()
    events, letters = [await stored_numbers(server.endpoint, stream, first=ledger.first) for stream in STREAMS]
    account = settle(ledger, events)
    assert account == Account(missing=account.missing, for_instance=account.for_instance)
    assert letters == sorted(set(letters))
    missing = account.missing + summary.dead_letters - len(letters)
    # What was under way when the server was killed, and what nobody waited for, may have been counted all the same.
    assert missing <= summary.dropped <= missing + summary.cancelled + ONE_BATCH, summary


async def test_a_damaged_spool_is_left_alone_and_costs_what_is_counted(
    server: PrivateServer, processes: ActorProcesses, driver_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = await _leave_spool(server, processes)
    garbage = _SQLITE + os.urandom(64 * 1024)
    database.write_bytes(garbage)
    server.start()
    run = living_on(server.url, driver_name, processes.spool_dir, queue_seconds=1.0)
    async with run.at_work():
        await run.returned(200)
        server.kill()
        await run.until(lambda: run.backend.metrics.records_dropped >= 200)
        await run.returned(200)
        await server.start_beside()
        await run.recovered()
    assert database.read_bytes() == garbage
    assert run.backend.metrics.spool_errors > 0
    assert str(database) in caplog.text
    assert _complaints(caplog) == 1
    await check_lost_are_counted(run, server.endpoint, uncertain=ONE_BATCH)


async def _leave_spool(server: PrivateServer, processes: ActorProcesses) -> Path:
    """Let a process die over a spool with records in it, with the server away, and return the spool's file."""
    process = await processes.start()
    server.kill()
    await process.returned_more(300)
    process.kill()
    (database,) = [path for path in processes.spool_dir.iterdir() if path.read_bytes()[:16] == _SQLITE]
    for path in processes.spool_dir.iterdir():
        if path.name.endswith(("-wal", "-shm")):
            path.unlink()
    return database


async def test_a_spool_that_may_not_be_written_costs_what_is_counted_and_keeps_what_it_has(
    server: PrivateServer, processes: ActorProcesses
) -> None:
    left = await processes.start()
    server.kill()
    await left.returned_more(300)
    left.kill()
    processes.spool_dir.chmod(0o555)
    for path in processes.spool_dir.iterdir():
        path.chmod(0o444)
    server.start()
    barred = await processes.start(keeps_to_rights=True)
    server.kill()
    await barred.returned_more(500)
    server.start()
    await barred.returned_more(500)
    summary = await barred.end()
    assert summary.spooled == 0
    assert summary.spool_errors > 0
    await check_dropped_are_counted(server, barred, summary)
    processes.spool_dir.chmod(0o755)
    for path in processes.spool_dir.iterdir():
        path.chmod(0o644)
    allowed = await processes.start()
    assert (await allowed.end()).dropped == 0
    await check_noted(server, left, allowed)


async def test_a_directory_that_cannot_be_made_costs_what_is_counted(
    server: PrivateServer, driver_name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    run = living_on(server.url, driver_name, tmp_path / "file" / "spool", queue_seconds=1.0)
    async with run.at_work():
        await run.returned(200)
        server.kill()
        await run.until(lambda: run.backend.metrics.records_dropped >= 200)
        await run.returned(200)
        await server.start_beside()
        await run.recovered()
    assert run.backend.metrics.spool_errors > 0
    assert _complaints(caplog) == 1
    await check_lost_are_counted(run, server.endpoint, uncertain=ONE_BATCH)


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "papyra_streams"]


def _complaints(caplog: pytest.LogCaptureFixture) -> int:
    return sum(line.startswith("The spool") for line in _said(caplog))


async def test_records_that_no_replica_confirms_in_time_are_not_put_in_the_spool(
    open_backend: OpenBackend, private_server: PrivateServer, tmp_path: Path
) -> None:
    policy = WritePolicy(durability="replicas=1", spool_dir=tmp_path, on_shortfall="count")
    backend = open_backend(url=private_server.url, write_policy=policy)
    await record_events(backend, 1)

    metrics = backend.metrics
    assert (metrics.replica_shortfalls, metrics.records_written, metrics.records_spooled) == (1, 1, 0)
