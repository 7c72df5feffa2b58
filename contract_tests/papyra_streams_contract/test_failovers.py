"""A primary is lost under load: what a level of durability promises is kept, and the account would show a loss."""

import re
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from .arranging import eventually
from .failovers.accounts import Account
from .failovers.deployments import PATIENCE_SECONDS, Deployment
from .failovers.faults import Kill, KillAhead, Pause
from .failovers.fixtures import ROUNDS, where_another_takes_over
from .failovers.processes import TrafficProcess
from .failovers.rounds import Rounds
from .processes import ServerProcess
from .wire import ask_once
from .workers.fixtures import Tell

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.timeout(60 + 30 * ROUNDS),
    where_another_takes_over,
]

_SCRIPTS = re.compile(rb"cmdstat_eval(?:sha)?:calls=(\d+),.*rejected_calls=(\d+)")


@pytest.fixture
def seed() -> int:
    """Return what decides when a primary is lost."""
    return time.time_ns()


@pytest.fixture
def confirmed_rounds(deployment: Deployment, driver_name: str, tmp_path: Path, seed: int) -> Rounds:
    """Return rounds in which a record counts once a replica has it."""
    return Rounds(deployment, tmp_path, Random(seed), durability="replicas=1", drivers=[driver_name])


async def test_what_a_replica_confirmed_outlives_the_primary(confirmed_rounds: Rounds, seed: int, tell: Tell) -> None:
    accounts = [await confirmed_rounds.run((Kill(), KillAhead())[number % 2]) for number in range(ROUNDS)]
    tell(f"{_told(accounts)}, seed {seed}")
    for account in accounts:
        assert account.has_kept_the_promise, account
        # What was on its way to the primary came to the one that took over.
        assert account.lost_unconfirmed == 0, account
        assert account.confirmed > 200


@pytest.mark.topologies("cluster", reason="that an account sees what is lost is seen on one topology")
async def test_what_no_replica_confirmed_may_be_lost_with_the_primary(
    deployment: Deployment, driver_name: str, tmp_path: Path
) -> None:
    rounds = Rounds(deployment, tmp_path, Random(0), durability="memory", drivers=[driver_name])
    account = await rounds.run(KillAhead())
    assert account.lost > 0
    assert (account.doubled, account.out_of_order, account.not_received) == (0, 0, 0), account


async def test_a_former_primary_that_lives_on_is_sent_nothing_once_another_is_known(
    confirmed_rounds: Rounds,
) -> None:
    async def look(primary: ServerProcess, former: ServerProcess, traffic: TrafficProcess) -> None:
        ran, _ = scripts(primary)

        async def is_known() -> bool:
            return scripts(primary)[0] > ran

        await eventually(is_known, within=PATIENCE_SECONDS)
        # What was begun while it did not answer may still reach it.
        await traffic.recorded(50)
        before = scripts(former)
        await traffic.recorded(50)
        assert scripts(former) == before

    account = await confirmed_rounds.run(Pause(), look=look)
    assert account.has_kept_the_promise, account


def scripts(server: ServerProcess) -> tuple[int, int]:
    """Return how many scripts it was sent by clients: those that it ran, and those that it refused.

    Everything that writes is one, and a primary sends its replicas none.
    """
    counts = _SCRIPTS.findall(ask_once(server.endpoint, "INFO commandstats"))
    return sum(int(ran) for ran, _ in counts), sum(int(refused) for _, refused in counts)


def _told(accounts: Iterable[Account]) -> str:
    return "; ".join(f"{each.confirmed} confirmed, still for {each.standstill:.1f} s" for each in accounts)
