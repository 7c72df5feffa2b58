"""Primaries are killed, and workers with them: everything is handled, in order where that is asked for."""

import time
from random import Random
from typing import Literal

import pytest

from .failovers.deployments import Deployment
from .failovers.faults import Fault, Kill, KillAhead
from .failovers.fixtures import FEW_ROUNDS, where_another_takes_over
from .workers.arranging import all_finished
from .workers.checking import Loss, check_acknowledged_were_handled, check_all_was_handled, check_order, repeats
from .workers.fixtures import MakeCrew, Tell
from .workers.group import STREAM, GroupOnServer
from .workers.recording import record_events

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.timeout(60 + 30 * FEW_ROUNDS),
    where_another_takes_over,
]

_CLAIM_IDLE = 1.0
_EVENTS_A_ROUND = 1000


@pytest.mark.parametrize(
    ("ordering", "partitions"), [("actor", 1), ("none", 1), ("actor", 3)] if FEW_ROUNDS > 1 else [("actor", 1)]
)
async def test_primaries_and_workers_that_are_killed_leave_nothing_unhandled(
    deployment: Deployment,
    make_crew: MakeCrew,
    driver_name: str,
    ordering: Literal["none", "actor"],
    partitions: int,
    tell: Tell,
) -> None:
    seed, losses = time.time_ns(), list[Loss]()
    chance = Random(seed)
    crew = make_crew(
        deployment.server,
        ordering=ordering,
        partitions=partitions,
        concurrency=20,
        claim_idle=_CLAIM_IDLE,
        handling_seconds=0.03,
    )
    crew.start(3)
    for number in range(FEW_ROUNDS):
        await record_events(deployment.url, driver_name, _EVENTS_A_ROUND, actors=30, partitions=partitions)
        await crew.handled_more(_EVENTS_A_ROUND // 5)
        crew.replace_one(chance)
        losses.append(await _fail_over(deployment, (KillAhead(), Kill())[number % 2]))
        if ordering == "none":
            await check_acknowledged_were_handled(
                GroupOnServer(deployment.endpoint(STREAM), partitions=partitions), crew
            )
    group = GroupOnServer(deployment.endpoint(STREAM), partitions=partitions)
    await all_finished(group, crew)
    await check_all_was_handled(group, crew)
    found = repeats(crew.handlings(), crew.kills, losses)
    tell(f"{found}, seed {seed}")
    assert found.unexplained == []
    if ordering == "actor":
        check_order(crew.handlings())


async def _fail_over(deployment: Deployment, fault: Fault) -> Loss:
    begun = time.monotonic_ns()
    await fault.happen(deployment, STREAM)
    return Loss(what="failovers", begun=begun, ended=time.monotonic_ns())
