"""What the contract tests are given."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from typing import Protocol

import pytest
import pytest_asyncio

from papyra_streams import drivers, endpoint
from papyra_streams.ports import StreamStore, Timeouts

from .matrix import Target
from .servers import NO_SETTINGS, PrivateServer, Server
from .wire import Wire

pytest_plugins = ["papyra_streams_contract.failovers.fixtures", "papyra_streams_contract.workers.fixtures"]

OpenStore = Callable[[endpoint.Server, Timeouts], StreamStore]
"""Make a store that is closed at the end of the test."""


class MakePrivateServer(Protocol):
    """Start a server that the test may harm, and that is taken away at the end of the test."""

    def __call__(
        self,
        *,
        settings: Mapping[str, str] = NO_SETTINGS,
        keeps_data: bool = False,
        replica_of: PrivateServer | None = None,
    ) -> PrivateServer:
        """Start it.

        :param settings: as in the server's configuration file
        :param keeps_data: keep what it holds over `PrivateServer.kill` and `PrivateServer.start`
        :param replica_of: have it follow another one
        """


IMPATIENT = Timeouts(connect=2.0, command=1.0)
"""For tests in which the server is made not to answer."""


@pytest.fixture
def driver_name(target: Target) -> str:
    """Return the driver's name."""
    return target.driver_name


@pytest.fixture
def server(target: Target) -> Server:
    """Return a server that is shared with other tests."""
    return target.source.shared()


@pytest.fixture
def url(server: Server) -> str:
    """Return the shared server's URL."""
    return server.url


@pytest.fixture
def make_private_server(target: Target) -> Iterator[MakePrivateServer]:
    """Return a function that starts servers which the test may harm."""
    with ExitStack() as stack:

        def make(
            *,
            settings: Mapping[str, str] = NO_SETTINGS,
            keeps_data: bool = False,
            replica_of: PrivateServer | None = None,
        ) -> PrivateServer:
            private = target.source.private(settings, keeps_data=keeps_data, replica_of=replica_of)
            stack.callback(private.stop)
            return private

        yield make


@pytest.fixture
def private_server(make_private_server: MakePrivateServer) -> PrivateServer:
    """Return a server that the test may harm."""
    return make_private_server()


@pytest_asyncio.fixture(loop_scope="function")
async def open_store(driver_name: str) -> AsyncIterator[OpenStore]:
    """Return a function that makes stores."""
    factory = drivers.load(driver_name)
    async with AsyncExitStack() as stack:

        def make(server: endpoint.Server, timeouts: Timeouts) -> StreamStore:
            store = factory(server, timeouts)
            stack.push_async_callback(store.aclose)
            return store

        yield make


@pytest_asyncio.fixture(loop_scope="function")
async def store(open_store: OpenStore, server: Server, request: pytest.FixtureRequest) -> StreamStore:
    """Return a store on the shared server."""
    opened = open_store(server.target, Timeouts())
    await _skip_without_what_is_needed(opened, request)
    return opened


@pytest.fixture
def synced_server(make_private_server: MakePrivateServer) -> PrivateServer:
    """Return a server that the test may harm, and that syncs each write to an append-only file."""
    return make_private_server(keeps_data=True)


@pytest_asyncio.fixture(loop_scope="function")
async def synced_store(
    open_store: OpenStore, synced_server: PrivateServer, request: pytest.FixtureRequest
) -> StreamStore:
    """Return a store on the server that syncs."""
    opened = open_store(synced_server.target, Timeouts())
    await _skip_without_what_is_needed(opened, request)
    return opened


@pytest_asyncio.fixture(loop_scope="function")
async def private_store(open_store: OpenStore, private_server: PrivateServer) -> StreamStore:
    """Return a store on the private server, which does not wait long."""
    return open_store(private_server.target, IMPATIENT)


@pytest_asyncio.fixture(loop_scope="function")
async def wire(server: Server) -> AsyncIterator[Wire]:
    """Return a raw connection to the shared server."""
    connection = Wire(server.endpoint)
    yield connection
    await connection.aclose()


@pytest_asyncio.fixture(loop_scope="function")
async def private_wire(private_server: PrivateServer) -> AsyncIterator[Wire]:
    """Return a raw connection to the private server."""
    connection = Wire(private_server.endpoint)
    yield connection
    await connection.aclose()


@pytest_asyncio.fixture(loop_scope="function")
async def synced_wire(synced_server: PrivateServer) -> AsyncIterator[Wire]:
    """Return a raw connection to the server that syncs."""
    connection = Wire(synced_server.endpoint)
    yield connection
    await connection.aclose()


@pytest_asyncio.fixture(loop_scope="function")
async def namespace(wire: Wire) -> AsyncIterator[str]:
    """Return a key prefix that nobody else has; every key with it in its name is deleted after the test."""
    unique = f"contract-{uuid.uuid4().hex}"
    yield unique
    await _delete_all(wire, f"*{unique}*")


@pytest.fixture
def stream(namespace: str) -> str:
    """Return the key of a stream that is not there yet."""
    return f"{namespace}:orders:events"


async def _skip_without_what_is_needed(store: StreamStore, request: pytest.FixtureRequest) -> None:
    needed = [name for marker in request.node.iter_markers("needs") for name in marker.args]
    capabilities = await store.capabilities() if needed else None
    for name in needed:
        if not getattr(capabilities, name):
            pytest.skip(f"{request.getfixturevalue('target')} lacks the capability {name!r}")


async def _delete_all(wire: Wire, pattern: str) -> None:
    for key in await wire.keys(pattern):
        await wire("UNLINK", key)
