"""The server runs a batch, and its reply does not get through."""

from pathlib import Path

import pytest

from .faults.arranging import living_on
from .faults.checking import check_nothing_lost
from .proxy import ReplyCutter, before_one_server
from .servers import PrivateServer

pytestmark = [pytest.mark.asyncio(loop_scope="function"), before_one_server]

BATCHES = 1000


async def test_a_thousand_batches_of_which_every_third_reply_is_cut_are_stored_once_and_in_order(
    private_server: PrivateServer, driver_name: str
) -> None:
    async with ReplyCutter(private_server) as proxy:
        run = living_on(proxy.url, driver_name, None, backoff=0.001)
        async with run.at_work():
            await run.until(lambda: run.backend.metrics.batches_written >= BATCHES)
    await check_nothing_lost(run, private_server.endpoint, remark=f"seed {proxy.seed}")
    assert run.backend.metrics.records_deduplicated >= proxy.cuts >= BATCHES // 3


async def test_what_the_spool_gives_back_is_stored_once_and_in_order_though_every_tenth_reply_is_cut(
    private_server: PrivateServer, driver_name: str, tmp_path: Path
) -> None:
    private_server.kill()
    # Where every command shares a connection, a cut fails what else is under way, so that with more of them the other
    # streams' records may keep the spool's large batches from getting through.
    async with ReplyCutter(private_server, every=10) as proxy:
        run = living_on(proxy.url, driver_name, tmp_path / "spool", backoff=0.001, backoff_limit=0.1)
        async with run.at_work():
            await run.spooled(1500)
            await private_server.start_beside()
            await run.recovered()
    await check_nothing_lost(run, private_server.endpoint, remark=f"seed {proxy.seed}")
    assert run.backend.metrics.records_replayed >= 1500
    assert run.backend.metrics.records_deduplicated >= proxy.cuts > 0
