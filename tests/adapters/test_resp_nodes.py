"""The clients of a topology's servers, and what becomes of those that are not needed any more."""

import asyncio

import pytest

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Closed
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._resp.nodes import Nodes
from papyra_streams_adapters._resp.slots import Address
from papyra_streams_adapters.redis._client import RedisClient

ONE, TWO = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
TIMEOUTS = Timeouts()


def dropping() -> int:
    """Return how many clients wait to be closed."""
    return [task.get_name() for task in asyncio.all_tasks()].count("papyra-streams drop node")


@pytest.mark.asyncio
async def test_nothing_is_left_to_be_closed_later_once_all_is_closed() -> None:
    nodes = Nodes(Endpoint(), lambda endpoint: RedisClient(endpoint, TIMEOUTS), TIMEOUTS)
    kept, dropped = nodes.at(ONE), nodes.at(TWO)
    nodes.keep([ONE])
    await asyncio.sleep(0)
    assert dropping() == 1

    await nodes.aclose()

    assert dropping() == 0
    for client in (kept, dropped):
        with pytest.raises(Closed):
            await client.call("PING")
