"""The bounded set of connections that redis-py's and valkey-py's commands take turns on."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import pytest

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Indeterminate
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._redispy.client import FamilyClient
from papyra_streams_adapters._redispy.connections import Connections
from papyra_streams_adapters._redispy.library import Library
from papyra_streams_adapters.redis import _client as redis
from papyra_streams_adapters.valkey import _client as valkey

pytestmark = pytest.mark.asyncio

SWIFT = Timeouts(connect=1.0, command=0.2)


@pytest.mark.parametrize("library", [redis._LIBRARY, valkey._LIBRARY], ids=["redis", "valkey"])
async def test_a_connection_that_cannot_be_made_uses_no_slot_up(library: Library) -> None:
    connections = Connections(replace(library, tcp=Mock(side_effect=LookupError)), Endpoint(), SWIFT, limit=2)

    for _ in range(5):
        with pytest.raises(LookupError):
            await connections.acquire()


@pytest.mark.parametrize("make", [redis.RedisClient, valkey.ValkeyClient], ids=["redis", "valkey"])
async def test_a_socket_is_closed_with_its_connection_though_much_is_unsent(
    make: Callable[[Endpoint, Timeouts], FamilyClient],
) -> None:
    received = asyncio.get_running_loop().create_future()

    async def read_too_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The handshake.
        for _ in range(2):
            await reader.readuntil(b"LIB-")
            writer.write(b"+OK\r\n")
        await given_up.wait()
        size = 0
        while some := await reader.read(1 << 20):
            size += len(some)
        received.set_result(size)
        writer.close()

    given_up = asyncio.Event()
    server = await asyncio.start_server(read_too_late, "127.0.0.1", 0)
    async with server:
        client = make(Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), SWIFT)
        with pytest.raises(Indeterminate):
            await client.call("SET", "key", b"x" * 30_000_000)
        given_up.set()
        assert await asyncio.wait_for(received, 5) < 30_000_000
        await client.aclose()
