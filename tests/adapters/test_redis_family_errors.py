"""What the drivers for redis-py and valkey-py make of every error, and that they send a command at most once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest
import redis.exceptions
import valkey.exceptions

from papyra_streams import errors
from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import StreamsError
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._redispy.client import FamilyClient
from papyra_streams_adapters._redispy.errors import ErrorTable
from papyra_streams_adapters._resp.errors import Redirected
from papyra_streams_adapters.redis._client import RedisClient
from papyra_streams_adapters.redis._errors import ERRORS as REDIS_ERRORS
from papyra_streams_adapters.valkey._client import ValkeyClient
from papyra_streams_adapters.valkey._errors import ERRORS as VALKEY_ERRORS

MakeClient = Callable[[Endpoint, Timeouts], FamilyClient]

clients = pytest.mark.parametrize("make", [RedisClient, ValkeyClient], ids=["redis", "valkey"])
tables = pytest.mark.parametrize(
    ("table", "library"),
    [(REDIS_ERRORS, redis.exceptions), (VALKEY_ERRORS, valkey.exceptions)],
    ids=["redis", "valkey"],
)

ENDPOINT = Endpoint(host="server.test", password="s3cret")
QUICK = Timeouts(connect=0.3, command=0.3)


class FakeServer:
    """Answers each command with what ``reply`` returns: bytes, None for silence, or "close"."""

    def __init__(self) -> None:
        self.reply: Callable[[list[bytes]], bytes | str | None] = lambda _: b"+OK\r\n"
        self.received: list[list[bytes]] = []
        self.connections = 0
        self.endpoint = Endpoint()

    def answer(self, text: str | None) -> None:
        """Answer each command but the handshake's with ``text``, and those with OK."""
        answer = None if text is None else text if text == "close" else text.encode() + b"\r\n"
        self.reply = lambda command: b"+OK\r\n" if command[0] == b"CLIENT" else answer

    def count(self, name: bytes) -> int:
        return sum(command[0] == name for command in self.received)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                command = await read_command(reader)
                self.received.append(command)
                reply = self.reply(command)
                if isinstance(reply, str):
                    break
                writer.write(reply or b"")
        writer.close()


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    words = int((await reader.readuntil(b"\r\n"))[1:])
    command = []
    for _ in range(words):
        length = int((await reader.readuntil(b"\r\n"))[1:])
        command.append((await reader.readexactly(length + 2))[:-2])
    return command


@contextlib.asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.endpoint = Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    try:
        yield fake
    finally:
        server.close()


@contextlib.asynccontextmanager
async def closing(client: FamilyClient) -> AsyncIterator[FamilyClient]:
    try:
        yield client
    finally:
        await client.aclose()


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an exception and every other one it leads to, hidden or not."""
    return [] if error is None else [error, *chain(error.__cause__), *chain(error.__context__)]


# The class's name in the client, what the client leaves of the text, our error and its code.
BY_CLASS = [
    ("AuthenticationError", "invalid username-password pair", errors.AuthenticationFailed, "WRONGPASS"),
    ("BusyLoadingError", "Redis is loading the dataset in memory", errors.Unavailable, "LOADING"),
    ("NoPermissionError", "this user has no permissions", errors.PermissionDenied, "NOPERM"),
    ("NoScriptError", "No matching script.", errors.ScriptMissing, "NOSCRIPT"),
    ("OutOfMemoryError", "command not allowed when used memory > 'maxmemory'.", errors.OutOfMemory, "OOM"),
    ("ReadOnlyError", "You can't write against a read only replica.", errors.Unavailable, "READONLY"),
    ("ExecAbortError", "Transaction discarded", errors.Rejected, "EXECABORT"),
    ("ClusterCrossSlotError", "Keys in request don't hash to the same slot", errors.Rejected, "CROSSSLOT"),
    ("ClusterDownError", "The cluster is down", errors.Unavailable, "CLUSTERDOWN"),
    ("MasterDownError", "Link with MASTER is down", errors.Unavailable, "MASTERDOWN"),
    ("TryAgainError", "Multiple keys request during rehashing", errors.Unavailable, "TRYAGAIN"),
    ("AskError", "3999 127.0.0.1:6381", Redirected, "ASK"),
    ("MovedError", "3999 127.0.0.1:6381", Redirected, "MOVED"),
    ("ResponseError", "WRONGTYPE Operation against a key", errors.WrongType, "WRONGTYPE"),
    ("ResponseError", "unknown command 'XNOSUCH', with args beginning with: 's' ", errors.UnsupportedOperation, "ERR"),
    ("ConnectionError", "Connection closed by server.", errors.Indeterminate, ""),
    ("TimeoutError", "Timeout reading from server.test:6379", errors.Indeterminate, ""),
    ("InvalidResponse", "Protocol Error: b'H'", errors.Indeterminate, ""),
]


@tables
@pytest.mark.parametrize(("name", "text", "kind", "code"), BY_CLASS)
def test_a_clients_exception_becomes_the_error_a_caller_can_act_on(
    table: ErrorTable, library: ModuleType, name: str, text: str, kind: type[StreamsError], code: str
) -> None:
    failure = table.exchanging(getattr(library, name)(text), ENDPOINT)

    assert (type(failure), getattr(failure, "code", None)) == (kind, code)


@tables
@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("ConnectionError", "Error 111 connecting to server.test:6379.", errors.Unavailable),
        ("TimeoutError", "Timeout connecting to server", errors.Unavailable),
        ("AuthenticationError", "Authentication required.", errors.AuthenticationFailed),
        ("ResponseError", "DB index is out of range", errors.Rejected),
    ],
)
def test_while_connecting_a_fault_means_that_the_command_did_not_run(
    table: ErrorTable, library: ModuleType, name: str, text: str, kind: type[StreamsError]
) -> None:
    assert type(table.connecting(getattr(library, name)(text), ENDPOINT)) is kind


@tables
def test_who_is_not_let_in_is_told_what_says_who_they_are(table: ErrorTable, library: ModuleType) -> None:
    endpoint = Endpoint(host="server.test", given_as="`client`")
    for translate in (table.connecting, table.exchanging, table.answer):
        assert "the password in `client`." in str(translate(library.AuthenticationError("no"), endpoint))


@tables
def test_the_error_that_a_unix_sockets_handshake_wraps_is_found(table: ErrorTable, library: ModuleType) -> None:
    wrapped = library.ConnectionError("invalid username-password pair")
    wrapped.__cause__ = library.AuthenticationError("invalid username-password pair")

    assert type(table.connecting(wrapped, ENDPOINT)) is errors.AuthenticationFailed


@pytest.mark.parametrize("table", [REDIS_ERRORS, VALKEY_ERRORS], ids=["redis", "valkey"])
@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), RecursionError("x")])
def test_what_is_neither_the_clients_nor_the_networks_is_left_alone(table: ErrorTable, error: Exception) -> None:
    assert table.exchanging(error, ENDPOINT) is None
    assert table.connecting(error, ENDPOINT) is None


ANSWERS = [
    ("NOAUTH Authentication required.", errors.AuthenticationFailed, "NOAUTH"),
    ("WRONGPASS invalid username-password pair or user is disabled.", errors.AuthenticationFailed, "WRONGPASS"),
    ("NOPERM User u has no permissions to run the 'xadd' command", errors.PermissionDenied, "NOPERM"),
    ("OOM command not allowed when used memory > 'maxmemory'.", errors.OutOfMemory, "OOM"),
    ("NOGROUP No such key 's' or consumer group 'g'", errors.GroupMissing, "NOGROUP"),
    ("BUSYGROUP Consumer Group name already exists", errors.GroupExists, "BUSYGROUP"),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", errors.WrongType, "WRONGTYPE"),
    ("NOSCRIPT No matching script. Please use EVAL.", errors.ScriptMissing, "NOSCRIPT"),
    ("LOADING Redis is loading the dataset in memory", errors.Unavailable, "LOADING"),
    ("BUSY Redis is busy running a script.", errors.Unavailable, "BUSY"),
    ("MASTERDOWN Link with MASTER is down", errors.Unavailable, "MASTERDOWN"),
    ("CLUSTERDOWN The cluster is down", errors.Unavailable, "CLUSTERDOWN"),
    ("TRYAGAIN Multiple keys request during rehashing of slot", errors.Unavailable, "TRYAGAIN"),
    ("NOREPLICAS Not enough good replicas to write.", errors.Unavailable, "NOREPLICAS"),
    ("MISCONF Errors writing to the AOF file", errors.Unavailable, "MISCONF"),
    ("READONLY You can't write against a read only replica.", errors.Unavailable, "READONLY"),
    ("MOVED 3999 127.0.0.1:6381", Redirected, "MOVED"),
    ("ASK 3999 127.0.0.1:6381", Redirected, "ASK"),
    ("CROSSSLOT Keys in request don't hash to the same slot", errors.Rejected, "CROSSSLOT"),
    ("EXECABORT Transaction discarded because of previous errors.", errors.Rejected, "EXECABORT"),
    ("UNBLOCKED client unblocked via CLIENT UNBLOCK", errors.Unavailable, "UNBLOCKED"),
    ("CONFLICT at 7", errors.Rejected, "CONFLICT"),
    ("ERR max number of clients reached", errors.Unavailable, "ERR"),
    ("ERR unknown command 'XADD', with args beginning with: 's' '*' ", errors.UnsupportedOperation, "ERR"),
    ("ERR no such key", errors.GroupMissing, "ERR"),
    ("ERR The XGROUP subcommand requires the key to exist.", errors.GroupMissing, "ERR"),
    ("ERR ACL failure in script: User u has no permissions to run", errors.PermissionDenied, "ERR"),
    ("ERR EXEC without MULTI", errors.Rejected, "ERR"),
    ("ERR syntax error", errors.Rejected, "ERR"),
    ("ERR wrong number of arguments for 'xadd' command", errors.Rejected, "ERR"),
]

# "max number of clients" is the last that a server says on a connection.
IN_PLACE = [text for text, *_ in ANSWERS if "max number" not in text]


@clients
@pytest.mark.parametrize(("text", "kind", "code"), ANSWERS, ids=[" ".join(text.split()[:2]) for text, *_ in ANSWERS])
@pytest.mark.asyncio
async def test_an_error_reply_is_translated_and_its_command_sent_once(
    make: MakeClient, text: str, kind: type[StreamsError], code: str
) -> None:
    async with fake_server() as server, closing(make(server.endpoint, QUICK)) as client:
        server.answer("-" + text)
        with pytest.raises(StreamsError) as caught:
            await client.call("XADD", "s", "*", "data", b"x")

        assert (caught.type, caught.value.code) == (kind, code)
        assert caught.value.__cause__ is not None
        assert server.count(b"XADD") == 1


@clients
@pytest.mark.parametrize("text", IN_PLACE, ids=lambda text: text.split()[0])
@pytest.mark.asyncio
async def test_an_error_reply_in_a_batch_stands_in_its_place(make: MakeClient, text: str) -> None:
    async with fake_server() as server, closing(make(server.endpoint, QUICK)) as client:
        server.reply = lambda command: b"-" + text.encode() + b"\r\n" if command[-1] == b"bad" else b":1\r\n"
        replies = await client.batch([("X", 1), ("X", "bad"), ("X", 2)])

        assert [replies[0], replies[2]] == [1, 1]
        assert isinstance(replies[1], StreamsError)
        assert server.count(b"X") == 3
        assert server.connections == 1


@clients
@pytest.mark.parametrize(
    "answer", ["close", None, "HTTP/1.1 400 Bad Request", "$5"], ids=["cut", "silent", "http", "part"]
)
@pytest.mark.asyncio
async def test_without_a_whole_reply_the_command_may_have_run_and_is_not_repeated(
    make: MakeClient, answer: str | None
) -> None:
    async with fake_server() as server, closing(make(server.endpoint, QUICK)) as client:
        server.answer(answer)
        with pytest.raises(errors.Indeterminate):
            await client.call("XADD", "s", "*", "data", b"x")
        with pytest.raises(errors.Indeterminate):
            await client.call_blocking("XREAD", "STREAMS", "s", "$", timeout=0.1)
        with pytest.raises(errors.Indeterminate):
            await client.batch([("PING",), ("PING",)])

        assert (server.count(b"XADD"), server.count(b"XREAD")) == (1, 1)
        assert server.count(b"PING") <= 2


@clients
@pytest.mark.parametrize("end", ["close", None], ids=["cut", "silent"])
@pytest.mark.asyncio
async def test_a_batch_that_breaks_off_keeps_the_replies_it_has(make: MakeClient, end: str | None) -> None:
    async with fake_server() as server, closing(make(server.endpoint, QUICK)) as client:
        server.reply = lambda command: end if command[-1] == b"2" else b":1\r\n"
        replies = await client.batch([("X", 0), ("X", 1), ("X", 2)])

        assert replies[:2] == [1, 1]
        assert isinstance(replies[2], errors.Indeterminate)
        assert server.count(b"X") == 3


@clients
@pytest.mark.parametrize("patience", [9, 0.1], ids=["cancelled", "timed out"])
@pytest.mark.asyncio
async def test_a_connection_that_still_owes_a_reply_is_not_used_again(make: MakeClient, patience: float) -> None:
    attempts: list[Callable[[FamilyClient], Coroutine[Any, Any, object]]] = [
        lambda client: client.call("GET", "a"),
        lambda client: client.batch([("GET", "a"), ("GET", "b")]),
        lambda client: client.call_blocking("GET", "a", timeout=0),
    ]
    timeouts = Timeouts(connect=1, command=patience)
    for attempt in attempts:
        async with fake_server() as server, closing(make(server.endpoint, timeouts)) as client:
            server.answer(None)
            task = asyncio.create_task(attempt(client))
            await asyncio.wait([task], timeout=0.3)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, errors.Indeterminate)):
                await task
            server.answer(":7")

            assert await client.call("GET", "c") == 7
            assert await client.call_blocking("GET", "c", timeout=1) == 7
            assert server.connections == 3


@clients
@pytest.mark.parametrize(
    "where",
    [Endpoint(host="127.0.0.1", port=1), Endpoint(host="no-such-host.invalid"), Endpoint(path="/no/such/socket")],
    ids=["refused", "unknown", "no socket"],
)
@pytest.mark.asyncio
async def test_without_a_connection_the_server_is_unavailable(make: MakeClient, where: Endpoint) -> None:
    async with closing(make(where, Timeouts(connect=3, command=0.3))) as client:
        for attempt in (client.call("PING"), client.batch([("PING",)]), client.call_blocking("PING", timeout=1)):
            with pytest.raises(errors.Unavailable, match="cannot be reached"):
                await attempt


@clients
@pytest.mark.asyncio
async def test_a_handshake_that_gets_no_answer_ends_with_the_connect_timeout(make: MakeClient) -> None:
    async with fake_server() as server, closing(make(server.endpoint, Timeouts(connect=0.2, command=9))) as client:
        server.reply = lambda _: None
        async with asyncio.timeout(3):
            with pytest.raises(errors.Unavailable):
                await client.call("XADD", "s", "*", "data", b"x")

        assert server.count(b"XADD") == 0


@clients
@pytest.mark.asyncio
async def test_a_busy_pool_is_unavailable_after_the_command_timeout(make: MakeClient) -> None:
    async with fake_server() as server, closing(make(server.endpoint, Timeouts(connect=1, command=0.3))) as client:
        server.reply = lambda command: None if command[0] == b"GET" else b"+OK\r\n"
        results = await asyncio.gather(*(client.call("GET", "a") for _ in range(33)), return_exceptions=True)

        assert [type(result) for result in results] == [errors.Indeterminate] * 32 + [errors.Unavailable]
        assert server.count(b"GET") == 32
        assert await client.call("PING") == b"OK"


@clients
@pytest.mark.asyncio
async def test_an_argument_that_cannot_be_sent_is_refused_before_anything_is(make: MakeClient) -> None:
    arguments: list[Any] = [None, object(), "\ud800"]
    async with fake_server() as server, closing(make(server.endpoint, QUICK)) as client:
        for argument in arguments:
            with pytest.raises(errors.InvalidValue):
                await client.call("GET", argument)
            with pytest.raises(errors.InvalidValue):
                await client.batch([("GET", "a"), ("GET", argument)])

        assert server.count(b"GET") == 0


@clients
@pytest.mark.asyncio
async def test_a_connection_that_the_server_has_closed_is_replaced_unnoticed(make: MakeClient) -> None:
    async with fake_server() as server, closing(make(server.endpoint, QUICK)) as client:
        server.answer("+PONG")
        await client.call("PING")
        server.reply = lambda _: "close"
        with pytest.raises(errors.Indeterminate):
            await client.call("QUIT")
        server.answer("+PONG")

        assert await client.call("PING") == b"PONG"


@clients
@pytest.mark.asyncio
@pytest.mark.parametrize("secret", ["s3cret-word", "s3cret-word" * 20], ids=["short", "cut by the server"])
async def test_no_error_tells_the_password(make: MakeClient, secret: str) -> None:
    async with fake_server() as server:
        where = Endpoint(host=server.endpoint.host, port=server.endpoint.port, username="u", password=secret)
        async with closing(make(where, QUICK)) as client:
            server.reply = lambda _: (
                b"-ERR unknown command 'AUTH', with args beginning with: 'u' '%.128s' \r\n" % secret.encode()
            )
            with pytest.raises(StreamsError) as caught:
                await client.call("PING")

            assert not any("s3cret" in f"{link} {link!r}" for link in chain(caught.value))
            assert "s3cret" not in repr(client)


@clients
@pytest.mark.asyncio
async def test_any_other_failure_to_connect_keeps_its_cause(make: MakeClient) -> None:
    async with fake_server() as server:
        where = Endpoint(host=server.endpoint.host, port=server.endpoint.port, password="s3cret")
        async with closing(make(where, QUICK)) as client:
            server.answer("-WRONGPASS invalid username-password pair or user is disabled.")
            with pytest.raises(errors.AuthenticationFailed) as caught:
                await client.call("PING")

            assert isinstance(caught.value.__cause__, redis.exceptions.RedisError | valkey.exceptions.ValkeyError)
