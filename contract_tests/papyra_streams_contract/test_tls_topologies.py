"""TLS in a cluster and with Sentinels, which also have a password: each server that a driver is led to is verified."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import quote_plus

import pytest
import pytest_asyncio

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
from papyra_streams.errors import Unavailable

from .arranging import eventually
from .failovers.deployments import Deployment
from .failovers.faults import Kill
from .failovers.plan import TOPOLOGIES
from .fixtures import IMPATIENT, OpenStore
from .matrix import Target
from .partitioned import consume_all, listed, record
from .secrecy import SECRET
from .servers import LOCALHOST, PrivateServer, target_of
from .topologies.access import Access
from .topologies.certificates import Authority
from .topologies.clusters import Cluster
from .topologies.sentinels import SERVICE, WatchedServer
from .topologies.tls import HOST, TlsSource
from .wire import ask_once
from .workers.group import STREAM

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.timeout(90),
    pytest.mark.topologies("tls", reason="no server shows a certificate"),
]

# A node that is alone does not know its address, and tells none.
SMALL: dict[str, Callable[[Path, Access], PrivateServer]] = {
    "cluster": lambda program, access: Cluster(program, primaries=2, access=access),
    "sentinel": lambda program, access: WatchedServer(program, access=access),
}

Serve = Callable[[Access], PrivateServer]


@pytest.fixture
def source(target: Target) -> TlsSource:
    """Return where the servers are from, which have to speak TLS among each other."""
    assert isinstance(target.source, TlsSource)
    if not target.source.has_tls:
        pytest.skip(f"{target.source.single.name} was built without TLS, which nothing else ends between servers")
    return target.source


@pytest.fixture
def access(source: TlsSource) -> Access:
    """Return how servers are reached whose certificate has their names and addresses."""
    return source.access(HOST, LOCALHOST, password=SECRET)


@pytest_asyncio.fixture(loop_scope="function", params=TOPOLOGIES)
async def deployment(request: pytest.FixtureRequest, source: TlsSource, access: Access) -> AsyncIterator[Deployment]:
    """Return servers of which another one takes over when a primary fails."""
    made = TOPOLOGIES[request.param](source.program, access=access)
    try:
        await made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(params=SMALL)
def serve(request: pytest.FixtureRequest, source: TlsSource) -> Iterator[Serve]:
    """Return a function that starts a few servers."""
    started: list[PrivateServer] = []

    def make(access: Access) -> PrivateServer:
        started.append(SMALL[request.param](source.program, access))
        started[-1].start()
        return started[-1]

    yield make
    for server in started:
        server.stop()


async def test_records_are_written_and_read_and_given_out_also_after_a_failover(
    deployment: Deployment, driver_name: str
) -> None:
    assert deployment.url.startswith("rediss+")
    async with aclosing(RedisStreamsPersistence(RedisStreamsConfig(url=deployment.url, driver=driver_name))) as backend:
        await record(backend, 40)
        assert await listed(backend) == list(range(40))
        assert len(await consume_all(backend)) == 40
        await deployment.in_step()
        await Kill().happen(deployment, STREAM)
        await record(backend, 40, first=40)
        assert await listed(backend) == list(range(80))
        assert [item.data["payload"]["number"] for item in await consume_all(backend)] == list(range(40, 80))


async def test_servers_are_refused_whose_authority_is_not_trusted(
    open_store: OpenStore, serve: Serve, source: TlsSource, access: Access, tmp_path: Path
) -> None:
    url = serve(access).url
    await open_store(target_of(url), IMPATIENT).ping()
    stranger = Authority(tmp_path, "stranger")
    trusting = url.replace(quote_plus(str(source.authority.file)), quote_plus(str(stranger.file)))

    with pytest.raises(Unavailable, match="(local issuer|self-signed) certificate"):
        await open_store(target_of(trusting), IMPATIENT).ping()


async def test_a_certificate_has_to_have_what_servers_call_themselves_which_may_be_names(
    open_store: OpenStore, serve: Serve, source: TlsSource
) -> None:
    server = serve(source.access(HOST, password=SECRET))
    # Whoever the URL names is trusted by this name, and tells the address of the next.
    store = open_store(target_of(server.url.replace(LOCALHOST, HOST)), IMPATIENT)
    with pytest.raises(Unavailable, match=f"not valid for '{LOCALHOST}'"):
        await store.length(STREAM)
    _announce_names(server)

    async def is_trusted() -> bool:
        try:
            return await store.length(STREAM) == 0
        except Unavailable:
            return False

    await eventually(is_trusted)


def _announce_names(server: PrivateServer) -> None:
    """Have servers tell names in place of addresses."""
    if isinstance(server, Cluster):
        for node in server.nodes:
            node.ask(f"CONFIG SET cluster-announce-hostname {HOST}")
            node.ask("CONFIG SET cluster-preferred-endpoint-type hostname")
        return
    assert isinstance(server, WatchedServer)
    (sentinel,) = server.sentinels
    for command in (
        "CONFIG SET resolve-hostnames yes",
        "CONFIG SET announce-hostnames yes",
        f"REMOVE {SERVICE}",
        f"MONITOR {SERVICE} {HOST} {server.endpoint.port} 1",
        f"SET {SERVICE} auth-pass {SECRET}",
    ):
        assert ask_once(sentinel.endpoint, f"SENTINEL {command}") == b"+OK"
