"""The server goes away under a living actor system, which goes on, and every record is stored once and in order."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from . import needs, takes_replicaof
from .faults.arranging import living_on, says
from .faults.checking import check_first_comes_first, check_life, check_nothing_lost
from .faults.living import LivingSystem
from .fixtures import MakePrivateServer
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest.fixture
def keeping_server(make_private_server: MakePrivateServer) -> PrivateServer:
    """Return a server that syncs every write to disk."""
    return make_private_server(keeps_data=True)


@pytest.fixture
def run(private_server: PrivateServer, driver_name: str, tmp_path: Path) -> LivingSystem:
    """Return a living system with a spool."""
    return living_on(private_server.url, driver_name, tmp_path / "spool")


async def test_a_killed_server_that_keeps_its_data_costs_nothing(
    keeping_server: PrivateServer, driver_name: str, tmp_path: Path
) -> None:
    run = living_on(keeping_server.url, driver_name, tmp_path / "spool")
    async with run.at_work():
        await run.returned(200)
        keeping_server.kill()
        await run.spooled(300)
        await keeping_server.start_beside()
        await run.recovered()
    await check_nothing_lost(run, keeping_server.endpoint)


async def test_a_server_that_is_killed_again_and_again_costs_nothing(
    keeping_server: PrivateServer, driver_name: str, tmp_path: Path
) -> None:
    run = living_on(keeping_server.url, driver_name, tmp_path / "spool")
    async with run.at_work():
        for _ in range(5):
            await run.returned(100)
            keeping_server.kill()
            await keeping_server.start_beside()
        await run.recovered()
    await check_nothing_lost(run, keeping_server.endpoint)


async def test_ten_seconds_of_silence_cost_nothing(run: LivingSystem, private_server: PrivateServer) -> None:
    async with run.at_work():
        await run.returned(200)
        private_server.pause()
        await anyio.sleep(10.0)  # which is what this is about
        private_server.resume()
        await run.recovered()
    assert run.backend.metrics.records_spooled > 1000
    await check_nothing_lost(run, private_server.endpoint)


@needs("trio")
@pytest.mark.usefixtures("store")
async def test_silence_costs_nothing_under_trio(run: LivingSystem, private_server: PrivateServer) -> None:
    async def work() -> None:
        async with run.at_work():
            await run.returned(200)
            private_server.pause()
            await run.spooled(300)
            private_server.resume()
            await run.recovered()

    await asyncio.to_thread(lambda: anyio.run(work, backend="trio"))
    await check_nothing_lost(run, private_server.endpoint)


async def test_connections_that_are_killed_every_50_ms_cost_nothing(
    run: LivingSystem, private_server: PrivateServer, private_wire: Wire
) -> None:
    killed = 0
    async with run.at_work():
        for _ in range(60):
            killed += await private_wire.number("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await anyio.sleep(0.05)
        await run.recovered()
    assert killed >= 50
    await check_nothing_lost(run, private_server.endpoint)


async def test_a_server_that_is_absent_at_the_start_costs_nothing(
    run: LivingSystem, private_server: PrivateServer
) -> None:
    private_server.kill()
    async with run.at_work():
        await run.spooled(300)
        await private_server.start_beside()
        await run.recovered()
    await check_nothing_lost(run, private_server.endpoint)


async def test_a_server_that_is_away_for_a_moment_needs_no_spool(
    keeping_server: PrivateServer, driver_name: str
) -> None:
    run = living_on(keeping_server.url, driver_name, None)
    async with run.at_work():
        await run.returned(200)
        keeping_server.kill()
        await run.until(lambda: run.backend.stats().queued >= 500)
        await keeping_server.start_beside()
        await run.recovered()
    await check_nothing_lost(run, keeping_server.endpoint)


@takes_replicaof
async def test_a_failover_to_a_replica_and_back_costs_nothing(
    run: LivingSystem, private_server: PrivateServer, private_wire: Wire, make_private_server: MakePrivateServer
) -> None:
    replica = make_private_server()
    async with aclosing(Wire(replica.endpoint)) as replica_wire:
        await replica_wire("REPLICAOF", *private_server.peer)
        await says(private_wire, "replication", "state=online")
        async with run.at_work():
            await run.returned(200)
            await private_wire("FAILOVER")
            await says(private_wire, "replication", "role:slave")
            await run.spooled(300)
            await says(replica_wire, "replication", "state=online")
            await replica_wire("FAILOVER")
            await says(private_wire, "replication", "role:master")
            await run.recovered()
    await check_nothing_lost(run, private_server.endpoint)


async def test_closing_while_the_server_is_away_leaves_the_rest_to_the_next_backend(
    keeping_server: PrivateServer, driver_name: str, tmp_path: Path
) -> None:
    first, second = (
        living_on(keeping_server.url, driver_name, tmp_path / "spool", first=number, close_timeout=1.0)
        for number in (0, 1_000_000)
    )
    async with first.at_work():
        await first.returned(200)
        keeping_server.kill()
        await first.returned(200)
    check_life(first)
    assert first.backend.metrics.records_dropped == 0
    keeping_server.start()
    async with second.at_work():
        await second.recovered()
    await check_nothing_lost(first, keeping_server.endpoint)
    await check_nothing_lost(second, keeping_server.endpoint)
    await check_first_comes_first(keeping_server.endpoint)
