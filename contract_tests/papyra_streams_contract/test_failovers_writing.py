"""Primaries are killed under a living actor system, which goes on, and every record is stored once and in order."""

from pathlib import Path

import pytest

from .failovers.deployments import Deployment
from .failovers.faults import Kill, KillAhead
from .failovers.fixtures import FEW_ROUNDS, where_another_takes_over
from .faults.arranging import living_on
from .faults.checking import STREAMS, check_nothing_lost

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.timeout(60 + 30 * FEW_ROUNDS),
    where_another_takes_over,
]


async def test_primaries_that_are_killed_cost_a_living_system_nothing(
    deployment: Deployment, driver_name: str, tmp_path: Path
) -> None:
    run = living_on(deployment.url, driver_name, tmp_path / "spool", durability="replicas=1")
    async with run.at_work():
        for number in range(FEW_ROUNDS):
            await run.returned(200)
            await (KillAhead(), Kill())[number % 2].happen(deployment, STREAMS[number % 2])
        await run.recovered()
    await check_nothing_lost(run, deployment.endpoint(STREAMS[0]))
