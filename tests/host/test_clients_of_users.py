"""A backend on a client that the user has built, which goes on being the user's."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import coredis
import pytest
import redis.asyncio
import valkey.asyncio

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
from papyra_streams.errors import AuthenticationFailed


@asynccontextmanager
async def of_redis(path: str) -> AsyncIterator[Any]:
    """Build a client of redis-py."""
    async with redis.asyncio.Redis(unix_socket_path=path, decode_responses=True) as client:
        yield client


@asynccontextmanager
async def of_valkey(path: str) -> AsyncIterator[Any]:
    """Build a client of valkey-py."""
    async with valkey.asyncio.Valkey(unix_socket_path=path, decode_responses=True) as client:
        yield client


@asynccontextmanager
async def of_coredis(path: str) -> AsyncIterator[Any]:
    """Build a client of coredis."""
    async with coredis.Redis(unix_socket_path=path, decode_responses=True) as client:
        yield client


Build = Callable[[str], AbstractAsyncContextManager[Any]]


@pytest.mark.asyncio
@pytest.mark.parametrize("build", [of_redis, of_valkey, of_coredis])
async def test_a_backend_goes_where_a_client_leads_and_leaves_it_open(build: Build, url: str, prefix: str) -> None:
    async with build(url.removeprefix("unix://")) as client:
        backend = RedisStreamsPersistence(RedisStreamsConfig(prefix=prefix), client=client)
        await backend.record_event({"event_type": "ActorStarted", "timestamp": 1.0})
        await backend.aclose()

        assert await client.xlen(f"{prefix}:local:events") == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("library", [redis.asyncio.Redis, valkey.asyncio.Valkey, coredis.Redis])
async def test_who_is_not_let_in_is_told_that_the_client_says_who_they_are(library: Any, url: str) -> None:
    client = library(unix_socket_path=url.removeprefix("unix://"), username="nobody", password="none")
    backend = RedisStreamsPersistence(client=client)

    with pytest.raises(AuthenticationFailed, match="Check the user name and the password in `client`"):
        await backend.list_events()
    await backend.aclose()
