"""Workers of a group that reads several partitions are killed, while these are written to."""

from typing import Literal

import pytest

from .servers import Server
from .workers.arranging import all_finished
from .workers.checking import KILL, check_all_was_handled, check_one_at_a_time, check_order, repeats
from .workers.fixtures import MakeCrew, Tell
from .workers.group import GroupOnServer
from .workers.recording import record_events

pytestmark = pytest.mark.asyncio(loop_scope="function")

_PARTITIONS = 3
_KILLS = 5
_EVENTS_A_KILL = 1000
_SLOTS = 20


# On the shared server, which nobody harms here: of a cluster, it is the one with several nodes.
@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_workers_on_partitions_that_are_killed_leave_nothing_unhandled(
    server: Server,
    namespace: str,
    make_crew: MakeCrew,
    driver_name: str,
    ordering: Literal["none", "actor"],
    tell: Tell,
) -> None:
    where = {"prefix": namespace, "partitions": _PARTITIONS}
    group = GroupOnServer(server.endpoint, **where)
    crew = make_crew(server, ordering=ordering, concurrency=_SLOTS, claim_idle=1.0, handling_seconds=0.02, **where)
    crew.start(3)
    for _ in range(_KILLS):
        await record_events(server.url, driver_name, _EVENTS_A_KILL, actors=30, **where)
        await crew.handled_more(_EVENTS_A_KILL // 5)
        crew.last_to_begin.kill()
        crew.start()
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
    found = repeats(crew.handlings(), crew.kills)
    tell(str(found))
    assert found.unexplained == []
    assert 0 < found.causes[KILL] <= _KILLS * _SLOTS
    assert {each.entry.number for each in crew.handlings()} == set(range(_PARTITIONS))
    if ordering == "actor":
        check_order(crew.handlings())
        check_one_at_a_time(crew.handlings())
