"""Primaries are replaced while backends have nothing to do: what these do next, they do on those that took over."""

import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
from papyra_streams.domain.kinds import EVENTS

from .arranging import eventually
from .failovers.deployments import PATIENCE_SECONDS, Deployment
from .failovers.faults import Kill
from .failovers.fixtures import where_another_takes_over
from .partitioned import listed, record
from .processes import ServerProcess
from .wire import ask_once
from .workers.fixtures import Tell

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.timeout(150),
    where_another_takes_over,
]

# So many that every primary of the cluster has some.
_PARTITIONS = 8
_AT_ONCE = 2.0

OpenIdle = Callable[[], RedisStreamsPersistence]


@pytest_asyncio.fixture(loop_scope="function")
async def open_idle(deployment: Deployment, driver_name: str) -> AsyncIterator[OpenIdle]:
    """Return a function that makes backends of one actor system on the deployment."""
    opened: list[RedisStreamsPersistence] = []

    def make() -> RedisStreamsPersistence:
        config = RedisStreamsConfig(url=deployment.url, driver=driver_name, partitions=_PARTITIONS)
        opened.append(RedisStreamsPersistence(config))
        return opened[-1]

    yield make
    for backend in opened:
        await backend.aclose()


@pytest.mark.parametrize("come_back", [True, False], ids=["as replicas", "gone"])
async def test_backends_that_were_idle_while_every_primary_was_replaced_go_on_at_once_with_those_that_took_over(
    deployment: Deployment, open_idle: OpenIdle, tell: Tell, *, come_back: bool
) -> None:
    reader, writer = open_idle(), open_idle()
    await record(writer, 40)
    assert sorted(await listed(reader)) == list(range(40))
    await deployment.in_step()
    begun = time.monotonic()
    formers = await _replace_all(deployment, reader, come_back=come_back)
    idle = time.monotonic() - begun

    begun = time.monotonic()
    await record(writer, 40, first=40)
    assert sorted(await listed(reader)) == list(range(80))
    seconds = time.monotonic() - begun

    tell(f"{len(formers)} primaries replaced in {idle:.1f} s, then recorded and read in {seconds:.2f} s")
    assert seconds < _AT_ONCE
    assert writer.metrics.write_errors == 0
    if come_back:
        assert [used for former in formers for used in _used_by_clients(former)] == []


async def _replace_all(
    deployment: Deployment, backend: RedisStreamsPersistence, *, come_back: bool
) -> set[ServerProcess]:
    """Kill every primary, one after another, and return those that were it."""
    keys = backend.config.keyspace()
    keys_of = {deployment.primary(stream): stream for stream in map(keys.stream, keys.partitions_of(EVENTS))}

    async def all_are_served() -> bool:
        return all(deployment.find_primary(key) for key in keys_of.values())

    for former, key in keys_of.items():
        if come_back:
            await Kill().happen(deployment, key)
        else:
            async with Kill().strike(deployment, key):
                await deployment.taken_over(key, former)
        # In a cluster, each node takes its time to hear that nothing is missing any more.
        await eventually(all_are_served, within=PATIENCE_SECONDS)
    return set(keys_of)


def _used_by_clients(server: ServerProcess) -> list[bytes]:
    """Return what clients have read there, and which scripts they ran, since it was started."""
    said = ask_once(server.endpoint, "INFO commandstats").splitlines()
    beginnings = tuple(b"cmdstat_%s:" % name for name in (b"xrange", b"xrevrange", b"eval", b"evalsha"))
    # A node of a cluster counts what it has sent elsewhere, without a call.
    return [line for line in said if line.startswith(beginnings) and b":calls=0," not in line]
