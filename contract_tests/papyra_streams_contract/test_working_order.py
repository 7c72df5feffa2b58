"""Entries of one actor are handled one at a time and in order, on whichever worker, also after a kill."""

import signal

import anyio
import pytest

from .proxy import Proxy, before_one_server
from .servers import PrivateServer
from .workers.arranging import all_finished, start_another
from .workers.checking import KILL, check_all_was_handled, check_one_at_a_time, check_order, repeats
from .workers.fixtures import MakeCrew, Tell
from .workers.group import GroupOnServer
from .workers.ledgers import done_entries
from .workers.processes import Crew
from .workers.recording import record_events

pytestmark = pytest.mark.asyncio(loop_scope="function")

_CLAIM_IDLE = 1.0
_KILLS = 5
_SLOTS = 20
_DELIVERIES = 3


@pytest.fixture
def crew(private_server: PrivateServer, make_crew: MakeCrew) -> Crew:
    """Return a crew that keeps to the order of each actor."""
    return make_crew(
        private_server, ordering="actor", concurrency=_SLOTS, claim_idle=_CLAIM_IDLE, handling_seconds=0.002
    )


@pytest.fixture
def group(private_server: PrivateServer) -> GroupOnServer:
    """Return the group."""
    return GroupOnServer(private_server.endpoint)


async def test_each_actor_is_handled_in_order_while_workers_are_killed(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str, tell: Tell
) -> None:
    await record_events(private_server.url, driver_name, 5000, actors=30)
    crew.start(3)
    for _ in range(_KILLS):
        await crew.handled_more(300)
        crew.last_to_begin.kill()
        crew.start()
    await all_finished(group, crew, within=40.0)
    await check_all_was_handled(group, crew)
    check_order(crew.handlings())
    check_one_at_a_time(crew.handlings())
    found = repeats(crew.handlings(), crew.kills)
    tell(str(found))
    assert found.unexplained == []
    assert found.causes[KILL] <= _KILLS * _SLOTS


async def test_actors_are_handled_beside_each_other(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 60, actors=_SLOTS)
    (worker,) = crew.start(handling_seconds=0.3)
    await all_finished(group, crew)
    begun, ended = zip(*((each.begun, each.ended) for each in worker.handlings[:_SLOTS]), strict=True)
    assert max(begun) < min(ended)
    check_order(crew.handlings())
    check_one_at_a_time(crew.handlings())


async def test_a_whole_stream_is_handled_in_order_while_workers_are_killed(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 600, actors=1)
    crew.start(2, ordering="stream")
    for _ in range(2):
        await crew.handled_more(100)
        crew.last_to_begin.kill()
        crew.start(ordering="stream")
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
    check_order(crew.handlings())
    check_one_at_a_time(crew.handlings())
    assert repeats(crew.handlings(), crew.kills).unexplained == []


@pytest.mark.parametrize("slots_of_others", [1, _SLOTS])
async def test_a_leader_that_was_stopped_leaves_the_order_to_the_next(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str, slots_of_others: int
) -> None:
    await record_events(private_server.url, driver_name, 100, actors=5)
    (stopped,) = crew.start(handling_seconds=0.3)
    await stopped.until(lambda noted: len(noted) >= 20)
    (other,) = crew.start(concurrency=slots_of_others, handling_seconds=0.05)
    stopped.send(signal.SIGSTOP)
    await other.until(lambda noted: len(noted) >= 5)
    stopped.send(signal.SIGCONT)
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
    check_order(crew.handlings())


@before_one_server
async def test_leaders_that_are_stopped_at_any_moment_strand_nothing(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 400, actors=5)
    async with Proxy(private_server) as proxy:
        # It makes it likely that a leader is stopped while it waits for a reply; with all commands on one connection,
        # some twenty entries a second are left.
        proxy.delay = 0.05
        crew.start(2, url=proxy.url, handling_seconds=0.05)
        for _ in range(6):
            await crew.handled_more(30)
            leader = crew.last_to_begin
            leader.send(signal.SIGSTOP)
            await anyio.sleep(_CLAIM_IDLE)
            await crew.handled_more(10)
            leader.send(signal.SIGCONT)
        await all_finished(group, crew, within=40.0)
    await check_all_was_handled(group, crew)
    check_order(crew.handlings())


async def test_a_leader_that_must_end_keeps_the_order_while_it_finishes(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 60, actors=5)
    (ending,) = crew.start(concurrency=5, handling_seconds=3 * _CLAIM_IDLE)
    await ending.until(lambda noted: len(noted) >= 5)
    await start_another(crew, group)
    ending.send(signal.SIGTERM)
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
    check_order(crew.handlings())
    check_one_at_a_time(crew.handlings())
    assert len(crew.handlings()) == 60


async def test_an_entry_that_kills_its_workers_is_put_in_quarantine_and_no_other(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 2000, actors=30)
    fatal = sorted(await group.entries())[100]
    for _ in range(_DELIVERIES):
        (worker,) = crew.start(fatal_number=100, max_deliveries=_DELIVERIES)
        assert await worker.ended() == -signal.SIGKILL, worker.log
    crew.start(fatal_number=100, max_deliveries=_DELIVERIES)
    await all_finished(group, crew)
    assert (await group.standing()).quarantined == {fatal}
    assert [each.attempt for each in crew.handlings() if each.entry == fatal] == [1, 2, 3]
    assert done_entries(crew.handlings()) == await group.entries() - {fatal}
    check_order(crew.handlings())
    check_one_at_a_time(crew.handlings())
