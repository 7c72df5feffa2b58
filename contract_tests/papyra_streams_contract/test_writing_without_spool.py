"""Without a spool, the oldest records give way: memory is bounded, and what is lost is counted."""

import logging
from typing import Any

import pytest

from .faults.arranging import living_on
from .faults.checking import STREAMS, check_lost_are_counted
from .fixtures import MakePrivateServer

pytestmark = pytest.mark.asyncio(loop_scope="function")

# Of the batch that was under way when the server was killed, nobody knows.
ONE_BATCH = 500
QUEUE = 200


@pytest.mark.parametrize(
    "bound",
    [{"queue_records": QUEUE}, {"queue_bytes": QUEUE * 200}, {"queue_seconds": 0.5}],
    ids=["records", "bytes", "seconds"],
)
async def test_past_a_bound_the_oldest_records_are_dropped_counted_and_logged_once(
    make_private_server: MakePrivateServer,
    driver_name: str,
    bound: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = make_private_server(keeps_data=True)
    run = living_on(server.url, driver_name, None, **bound)
    async with run.at_work():
        await run.returned(200)
        server.kill()
        await run.until(lambda: run.backend.metrics.records_dropped >= 500)
        await run.returned(200)
        said = _said_of_loss(caplog)
        await server.start_beside()
        await run.recovered()
    assert len(said) <= len(STREAMS), said
    assert said
    # One record of each stream may be under way beside those that wait. By seconds, it is what comes in half a second,
    # and in the time it takes to see that it is over.
    assert run.most_queued <= (QUEUE + len(STREAMS) if "queue_seconds" not in bound else 1000)
    await check_lost_are_counted(run, server.endpoint, uncertain=ONE_BATCH)


def _said_of_loss(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "papyra_streams" and record.levelno >= logging.WARNING and "are lost" in record.getMessage()
    ]


async def test_a_server_that_stays_away_keeps_nobody_from_closing(
    make_private_server: MakePrivateServer, driver_name: str
) -> None:
    server = make_private_server(keeps_data=True)
    run = living_on(server.url, driver_name, None, queue_seconds=1.0, close_timeout=1.0)
    async with run.at_work():
        await run.returned(200)
        server.kill()
        await run.until(lambda: run.backend.stats().queued >= 100)
    assert run.backend.metrics.records_dropped > 0
    server.start()
    await check_lost_are_counted(run, server.endpoint, uncertain=ONE_BATCH)
