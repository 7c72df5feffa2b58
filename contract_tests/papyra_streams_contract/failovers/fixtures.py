"""What tests of failovers are given."""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from papyra_streams_contract.matrix import Target
from papyra_streams_contract.topologies.base import TopologySource

from .deployments import Deployment
from .plan import TOPOLOGIES

# More failovers than usual, to find what is rare.
_ASKED_FOR = int(os.environ.get("PAPYRA_STREAMS_FAILOVERS", "0"))

ROUNDS = _ASKED_FOR or 2
"""How many failovers are accounted for."""

FEW_ROUNDS = _ASKED_FOR or 1
"""How many a test makes that is long without."""

where_another_takes_over = pytest.mark.topologies(
    *TOPOLOGIES, reason="only in a cluster, or where Sentinels watch, another server takes over"
)
"""For tests with failovers, each of which has servers of its own."""


@pytest_asyncio.fixture(loop_scope="function")
async def deployment(target: Target) -> AsyncIterator[Deployment]:
    """Return servers of the topology under test, of which another one takes over when a primary fails."""
    assert isinstance(target.source, TopologySource)
    made = TOPOLOGIES[target.source.topology](target.source.program)
    try:
        await made.start()
        yield made
    finally:
        made.stop()
