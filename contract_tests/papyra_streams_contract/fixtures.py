"""What the contract tests are given."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from papyra_streams import drivers
from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import StreamStore, Timeouts

from .matrix import Target
from .servers import PrivateServer, Server
from .wire import Wire

OpenStore = Callable[[Endpoint, Timeouts], StreamStore]
"""Make a store that is closed at the end of the test."""

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
def private_server(target: Target) -> Iterator[PrivateServer]:
    """Return a server that the test may harm."""
    private = target.source.private()
    yield private
    private.stop()


@pytest_asyncio.fixture(loop_scope="function")
async def open_store(driver_name: str) -> AsyncIterator[OpenStore]:
    """Return a function that makes stores."""
    factory = drivers.load(driver_name)
    async with AsyncExitStack() as stack:

        def make(endpoint: Endpoint, timeouts: Timeouts) -> StreamStore:
            store = factory(endpoint, timeouts)
            stack.push_async_callback(store.aclose)
            return store

        yield make


@pytest_asyncio.fixture(loop_scope="function")
async def store(open_store: OpenStore, server: Server, request: pytest.FixtureRequest) -> StreamStore:
    """Return a store on the shared server."""
    opened = open_store(server.endpoint, Timeouts())
    needed = [name for marker in request.node.iter_markers("needs") for name in marker.args]
    if needed:
        capabilities = await opened.capabilities()
        for name in needed:
            if not getattr(capabilities, name):
                pytest.skip(f"{request.getfixturevalue('target')} lacks the capability {name!r}")
    return opened


@pytest_asyncio.fixture(loop_scope="function")
async def private_store(open_store: OpenStore, private_server: PrivateServer) -> StreamStore:
    """Return a store on the private server, which does not wait long."""
    return open_store(private_server.endpoint, IMPATIENT)


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
async def namespace(wire: Wire) -> AsyncIterator[str]:
    """Return a key prefix that nobody else has; every key with it in its name is deleted after the test."""
    unique = f"contract-{uuid.uuid4().hex}"
    yield unique
    await _delete_all(wire, f"*{unique}*")


@pytest.fixture
def stream(namespace: str) -> str:
    """Return the key of a stream that is not there yet."""
    return f"{namespace}:orders:events"


async def _delete_all(wire: Wire, pattern: str) -> None:
    for key in await wire.keys(pattern):
        await wire("UNLINK", key)
