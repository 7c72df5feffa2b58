"""Workers that are slow, stopped or dead: who holds an entry, and who learns of it."""

import signal

import pytest

from papyra_streams.domain.identifiers import PartitionedId

from .servers import PrivateServer
from .workers.arranging import all_finished, leases_renewed, start_another
from .workers.checking import check_all_was_handled, repeats
from .workers.fixtures import MakeCrew, Tell
from .workers.group import GroupOnServer
from .workers.ledgers import Handling
from .workers.processes import Crew
from .workers.recording import record_events

pytestmark = pytest.mark.asyncio(loop_scope="function")

_CLAIM_IDLE = 1.0
_TAKEOVER = 1.0
_MARGIN_OF_A_LOADED_MACHINE = 1.0


@pytest.fixture
def crew(private_server: PrivateServer, make_crew: MakeCrew) -> Crew:
    """Return a crew that soon takes over what nobody holds."""
    return make_crew(private_server, claim_idle=_CLAIM_IDLE)


@pytest.fixture
def group(private_server: PrivateServer) -> GroupOnServer:
    """Return the group."""
    return GroupOnServer(private_server.endpoint)


async def test_a_slow_handler_keeps_its_entry(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 15)
    crew.start(2, handling_seconds=3 * _CLAIM_IDLE)
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
    handlings = crew.handlings()
    assert len(handlings) == 15
    assert {handling.attempt for handling in handlings} == {1}
    assert sum(summary.leases_lost for summary in await crew.end()) == 0


async def test_a_worker_that_was_stopped_for_too_long_learns_that_others_have_its_entries(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 5)
    (stopped,) = crew.start(handling_seconds=0.5)
    await stopped.until(lambda noted: len(noted) == 5)
    stopped.send(signal.SIGSTOP)
    (other,) = crew.start(handling_seconds=4.0)
    await other.until(lambda noted: len(noted) == 5)
    stopped.send(signal.SIGCONT)
    await stopped.until(lambda noted: all(handling.ended for handling in noted))
    stopped.send(signal.SIGTERM)
    assert await stopped.ended() == 0, stopped.log
    assert stopped.summary.leases_lost == 5
    assert stopped.summary.acknowledged == 0
    # It has taken nothing from the other, which is still at work on them.
    assert unfinished(other.handlings) == set(await group.holders())
    assert len(unfinished(other.handlings)) == 5
    await all_finished(group, crew)
    assert len(crew.handlings()) == 10
    assert {handling.attempt for handling in other.handlings} == {2}


def unfinished(handlings: list[Handling]) -> set[PartitionedId]:
    """Return the entries that were begun and not done."""
    return {handling.entry for handling in handlings if handling.ended is None}


@pytest.mark.parametrize("ordering", ["none", "actor", "stream"])
async def test_a_killed_workers_entries_are_with_another_within_a_second_of_the_leases_end(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str, ordering: str, tell: Tell
) -> None:
    in_hand = 1 if ordering == "stream" else 8
    await record_events(private_server.url, driver_name, in_hand)
    (killed,) = crew.start(ordering=ordering, handling_seconds=30.0)
    await killed.until(lambda noted: len(noted) == in_hand)
    other = await start_another(crew, group, ordering=ordering, handling_seconds=0.01)
    await leases_renewed(group, killed)
    killed.kill()
    await other.until(lambda noted: len(noted) == in_hand)
    assert killed.killed is not None
    seconds = (max(handling.begun for handling in other.handlings) - killed.killed) / 1e9
    tell(f"begun again {seconds:.2f} s after the kill, claim_idle {_CLAIM_IDLE} s")
    assert seconds <= _CLAIM_IDLE + _TAKEOVER + _MARGIN_OF_A_LOADED_MACHINE
    assert {handling.attempt for handling in other.handlings} == {2}
    assert repeats(crew.handlings(), crew.kills).unexplained == []
