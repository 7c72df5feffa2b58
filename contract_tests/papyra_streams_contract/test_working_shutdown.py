"""Workers that are asked to end: what they finish, what they hand over, and what they leave behind."""

import signal
import time

import pytest

from .servers import PrivateServer
from .workers.arranging import all_finished, start_another
from .workers.checking import check_all_was_handled
from .workers.fixtures import MakeCrew, Tell
from .workers.group import GroupOnServer
from .workers.processes import Crew
from .workers.recording import record_events

pytestmark = pytest.mark.asyncio(loop_scope="function")

_GRACE = 1.0
_MARGIN = 2.0


@pytest.fixture
def crew(private_server: PrivateServer, make_crew: MakeCrew) -> Crew:
    """Return a crew whose leases outlast the test."""
    return make_crew(private_server, claim_idle=60.0, grace=_GRACE)


@pytest.fixture
def group(private_server: PrivateServer) -> GroupOnServer:
    """Return the group."""
    return GroupOnServer(private_server.endpoint)


async def test_a_worker_that_must_end_hands_over_at_once_what_it_cannot_finish(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str, tell: Tell
) -> None:
    await record_events(private_server.url, driver_name, 10)
    (ending,) = crew.start(handling_seconds=30.0)
    await ending.until(lambda noted: len(noted) == 10)
    other = await start_another(crew, group, handling_seconds=0.01)
    asked = time.monotonic_ns()
    ending.send(signal.SIGTERM)
    assert await ending.ended() == 0, ending.log
    seconds = (time.monotonic_ns() - asked) / 1e9
    assert _GRACE <= seconds <= _GRACE + _MARGIN
    await other.until(lambda noted: len(noted) == 10)
    handed_over = (max(handling.begun for handling in other.handlings) - asked) / 1e9
    tell(f"ended {seconds:.2f} s after SIGTERM, its entries begun again after {handed_over:.2f} s, grace {_GRACE} s")
    assert handed_over <= _GRACE + _MARGIN
    assert {handling.attempt for handling in other.handlings} == {1}
    await all_finished(group, crew)
    assert not {name for name in await group.consumers() if f"-{ending.process_id}-" in name}


async def test_workers_that_end_one_after_another_under_load_handle_every_entry_once(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 5000)
    crew.start(3, handling_seconds=0.005)
    for _ in range(4):
        await crew.handled_more(300)
        ending = crew.at_work[0]
        ending.send(signal.SIGTERM)
        assert await ending.ended(within=_GRACE + _MARGIN) == 0, ending.log
        crew.start(handling_seconds=0.005)
    await all_finished(group, crew, within=40.0)
    await check_all_was_handled(group, crew)
    assert len(crew.handlings()) == 5000
    assert {handling.attempt for handling in crew.handlings()} == {1}


async def test_the_last_worker_leaves_a_group_without_consumers_that_hold_anything(
    crew: Crew, group: GroupOnServer, private_server: PrivateServer, driver_name: str
) -> None:
    await record_events(private_server.url, driver_name, 2000)
    crew.start(2, handling_seconds=0.01)
    await crew.handled_more(200)
    await crew.end()
    names = {f"-{worker.process_id}-" for worker in crew.workers}
    assert not [name for name in await group.consumers() if any(each in name for each in names)]
    handled = len(crew.handlings())
    crew.start()
    await all_finished(group, crew)
    assert handled + len(crew.workers[-1].handlings) == 2000
