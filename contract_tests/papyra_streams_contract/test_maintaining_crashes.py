"""Recoveries and compactions are killed at any moment, with their client or with their server, and lose nothing."""

import os
import time
from pathlib import Path

import pytest

from .fixtures import MakePrivateServer
from .maintaining.orders import OPERATIONS, Operation
from .maintaining.plans import Plan
from .maintaining.processes import Clients
from .maintaining.series import Series
from .workers.fixtures import Tell

pytestmark = pytest.mark.asyncio(loop_scope="function")

KILLS = 200
_KILLS_OF_A_TEST = KILLS // len(OPERATIONS)

# To repeat what failed: the seed, or the seed and the number of one round, as in 1234:17.
_REPEATED = os.environ.get("PAPYRA_STREAMS_CRASH", "")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_operation_that_is_killed_loses_nothing_and_is_finished_by_the_next(
    operation: Operation, make_private_server: MakePrivateServer, driver_name: str, tmp_path: Path, tell: Tell
) -> None:
    given, _, number = _REPEATED.partition(":")
    seed = int(given or time.time_ns())
    numbers = [int(number)] if number else range(1, _KILLS_OF_A_TEST + 1)
    plans = [Plan.of(seed, each, operation) for each in numbers]
    async with Clients(tmp_path) as clients:
        series = Series(make_private_server(keeps_data=True), driver_name, clients)
        began = time.monotonic()
        await series.measure(seed, operation)
        await series.run(plans)
    tell(f"{series.seen}; {time.monotonic() - began:.1f} s, seed {seed}")
    assert series.seen.kills.total() == len(plans)
    # Usually it is nine in ten. Were it few, this would test nothing.
    assert series.seen.under_way >= len(plans) // 4
