"""One real server for the tests that run Papyra or a command."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from papyra_streams import drivers
from papyra_streams.endpoint import EmbeddedDirectory, Endpoint

DRIVERS = ("redis", "valkey", "coredis")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    """Return where a private server listens."""
    lease = drivers.embedded_servers().acquire(EmbeddedDirectory(path=None))
    yield lease.endpoint
    lease.release()


@pytest.fixture
def url(endpoint: Endpoint) -> str:
    """Return the server's URL."""
    return str(endpoint)


@pytest.fixture
def prefix() -> str:
    """Return a key prefix that no other test has."""
    return f"test-{uuid4().hex}"


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """Return the name of each driver in turn."""
    return str(request.param)
