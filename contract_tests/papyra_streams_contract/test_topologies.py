"""What a driver does about each way in which servers may be set up."""

import time

import pytest

from papyra_streams.errors import Unavailable

from .fixtures import IMPATIENT, OpenStore
from .matrix import refusal_of
from .servers import LOCALHOST, free_port, target_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.topologies("standalone", reason="all topologies are in one test already"),
]

URLS: dict[str, str] = {
    "standalone": "redis://{}:{}/0",
    "tls": "rediss://{}:{}/0",
    "acl": "redis://somebody:something@{}:{}/0",
    "sentinel": "redis+sentinel://{}:{}/service",
    "cluster": "redis+cluster://{}:{}",
}


@pytest.mark.parametrize("topology", URLS)
async def test_a_driver_looks_for_its_servers_or_says_at_once_that_it_serves_no_such_topology(
    open_store: OpenStore, driver_name: str, topology: str
) -> None:
    url = URLS[topology].format(LOCALHOST, free_port())
    refusal = refusal_of(driver_name, url)
    if refusal is not None:
        assert topology != "standalone"
        assert driver_name in refusal
        return
    store = open_store(target_of(url), IMPATIENT)
    begun = time.monotonic()

    with pytest.raises(Unavailable, match=LOCALHOST):
        await store.ping()
    assert time.monotonic() - begun < IMPATIENT.connect + IMPATIENT.command
