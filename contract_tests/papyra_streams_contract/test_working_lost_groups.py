"""The group vanishes under its workers, or comes back as it was a while ago."""

from contextlib import aclosing

import pytest

from . import takes_replicaof
from .faults.arranging import says
from .fixtures import MakePrivateServer
from .servers import PrivateServer
from .wire import Wire
from .workers.arranging import all_finished
from .workers.checking import check_acknowledged_were_handled, check_all_was_handled
from .workers.fixtures import MakeCrew
from .workers.group import GROUP, STREAM, GroupOnServer
from .workers.processes import Crew
from .workers.recording import record_events

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest.fixture
def crew(private_server: PrivateServer, make_crew: MakeCrew) -> Crew:
    """Return a crew."""
    return make_crew(private_server, claim_idle=2.0, handling_seconds=0.005)


@pytest.fixture
def group(private_server: PrivateServer) -> GroupOnServer:
    """Return the group."""
    return GroupOnServer(private_server.endpoint)


async def test_what_is_recorded_after_everything_was_flushed_is_handled(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, private_wire: Wire, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 5000)
    crew.start(3)
    for _ in range(3):
        await crew.handled_more(500)
        await private_wire("FLUSHALL")
        await record_events(private_server.url, driver_name, 2000)
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
    assert sum(summary.groups_restored for summary in await crew.end()) >= 3


async def test_a_deleted_stream_begins_anew(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, private_wire: Wire, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 3000)
    crew.start(2)
    await crew.handled_more(500)
    await private_wire("DEL", STREAM)
    await record_events(private_server.url, driver_name, 1000)
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)


async def test_a_worker_that_is_to_fail_without_its_group_says_so_and_ends(
    crew: Crew, private_server: PrivateServer, private_wire: Wire, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 3000)
    (worker,) = crew.start(on_group_lost="fail")
    await crew.handled_more(200)
    await private_wire("XGROUP", "DESTROY", STREAM, GROUP)
    assert await worker.ended() != 0
    assert worker.summary.error == "GroupMissing", worker.log


async def test_replaying_begins_with_the_oldest_entry(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, private_wire: Wire, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 1000)
    (worker,) = crew.start(on_group_lost="replay")
    await all_finished(group, crew)
    await private_wire("XGROUP", "DESTROY", STREAM, GROUP)
    await worker.until(lambda noted: len(noted) == 2000)
    await all_finished(group, crew)
    assert [each.entry for each in worker.handlings[:1000]] == [each.entry for each in worker.handlings[1000:]]


@takes_replicaof
async def test_a_failover_to_a_replica_that_lagged_behind_skips_nothing(
    crew: Crew,
    group: GroupOnServer,
    private_server: PrivateServer,
    private_wire: Wire,
    make_private_server: MakePrivateServer,
    driver_name: str,
) -> None:
    replica = make_private_server()
    await record_events(private_server.url, driver_name, 6000)
    crew.start(3)
    async with aclosing(Wire(replica.endpoint)) as replica_wire:
        await replica_wire("REPLICAOF", *private_server.peer)
        await says(replica_wire, "replication", "master_link_status:up")
        await crew.handled_more(500)
        await replica_wire("REPLICAOF", "NO", "ONE")
        await crew.handled_more(1000)
        # The server becomes what the replica was, at its own address: the group is where it was a while ago.
        await private_wire("REPLICAOF", *replica.peer)
        await says(private_wire, "replication", "master_link_status:up")
        await private_wire("REPLICAOF", "NO", "ONE")
    await check_acknowledged_were_handled(group, crew)
    await record_events(private_server.url, driver_name, 1000)
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
