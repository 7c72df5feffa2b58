"""What the tests of the use cases are given."""

from typing import Any

import pytest

from papyra_streams.domain.keys import Keyspace

from .fakes import FakeStore


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run each asynchronous test on both event loops."""
    return request.param


@pytest.fixture
def store() -> FakeStore:
    """Return an empty store."""
    return FakeStore()


@pytest.fixture
def keys() -> Keyspace:
    """Return the keys of one actor system."""
    return Keyspace("papyra", "orders")
