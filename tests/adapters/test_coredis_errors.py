"""What leaves the coredis client when the server refuses, falls silent, goes away or was never there."""

import logging
import socket
import socketserver
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from coredis import exceptions as raised

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import (
    AuthenticationFailed,
    GroupExists,
    GroupMissing,
    Indeterminate,
    InvalidValue,
    OutOfMemory,
    PermissionDenied,
    Rejected,
    ScriptMissing,
    StreamsError,
    Unavailable,
    UnsupportedOperation,
    WrongType,
)
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._resp.errors import Redirected
from papyra_streams_adapters.coredis._client import CoredisClient
from papyra_streams_adapters.coredis._errors import opening_failed, reply_failed

pytestmark = pytest.mark.anyio

GREETING = b"%3\r\n$7\r\nversion\r\n$5\r\n6.2.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n"
SILENCE = b""
SWIFT = Timeouts(connect=1.0, command=0.3)

REPLIES = [
    ("NOAUTH Authentication required.", AuthenticationFailed, "NOAUTH"),
    ("WRONGPASS invalid username-password pair", AuthenticationFailed, "WRONGPASS"),
    ("NOPERM this user has no permissions", PermissionDenied, "NOPERM"),
    ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemory, "OOM"),
    ("NOGROUP No such key 's' or consumer group 'g'", GroupMissing, "NOGROUP"),
    ("BUSYGROUP Consumer Group name already exists", GroupExists, "BUSYGROUP"),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", WrongType, "WRONGTYPE"),
    ("NOSCRIPT No matching script.", ScriptMissing, "NOSCRIPT"),
    ("LOADING Redis is loading the dataset in memory", Unavailable, "LOADING"),
    ("BUSY Redis is busy running a script.", Unavailable, "BUSY"),
    ("MASTERDOWN Link with MASTER is down", Unavailable, "MASTERDOWN"),
    ("CLUSTERDOWN The cluster is down", Unavailable, "CLUSTERDOWN"),
    ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable, "TRYAGAIN"),
    ("NOREPLICAS Not enough good replicas to write.", Unavailable, "NOREPLICAS"),
    ("MISCONF Redis is configured to save RDB snapshots", Unavailable, "MISCONF"),
    ("READONLY You can't write against a read only replica.", Unavailable, "READONLY"),
    ("MOVED 866 127.0.0.1:7001", Redirected, "MOVED"),
    ("ASK 866 127.0.0.1:7001", Redirected, "ASK"),
    ("ERR max number of clients reached", Unavailable, "ERR"),
    ("ERR unknown command 'XNOSUCH', with args beginning with: 's'", UnsupportedOperation, "ERR"),
    ("ERR unknown subcommand 'NOSUCH'. Try XGROUP HELP.", UnsupportedOperation, "ERR"),
    ("ERR no such key", GroupMissing, "ERR"),
    ("ERR The XGROUP subcommand requires the key to exist.", GroupMissing, "ERR"),
    ("ERR ACL failure in script: User bob has no permissions", PermissionDenied, "ERR"),
    ("ERR wrong number of arguments for 'xadd' command", Rejected, "ERR"),
    ("CROSSSLOT Keys in request don't hash to the same slot", Rejected, "CROSSSLOT"),
    ("EXECABORT Transaction discarded because of previous errors.", Rejected, "EXECABORT"),
    ("UNBLOCKED client unblocked via CLIENT UNBLOCK", Unavailable, "UNBLOCKED"),
    ("NOTBUSY No scripts in execution right now.", Rejected, "NOTBUSY"),
    ("NOKEY nothing to migrate", Rejected, "NOKEY"),
    ("CONFLICT at 7", Rejected, "CONFLICT"),
]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


class Conversation(socketserver.StreamRequestHandler):
    """Greets, writes down every command, and says what it was told to say."""

    server: "FakeServer"

    def handle(self) -> None:
        while command := self._command():
            if command[0] == b"HELLO":
                self.wfile.write(self.server.greeting)
                continue
            self.server.received.append(command)
            answer = self.server.answers.pop(0) if self.server.answers else self.server.answer
            if answer is None:
                return
            time.sleep(self.server.pause)
            self.wfile.write(answer)

    def _command(self) -> list[bytes]:
        try:
            count = int(self.rfile.readline()[1:] or b"0")
            return [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(count)]
        except ConnectionError:
            return []


class FakeServer(socketserver.ThreadingTCPServer):
    """A server that answers every command alike: with ``answer``, or, if that is None, by hanging up."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: bytes | None, *, greeting: bytes = GREETING) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.answer = answer
        self.pause = 0.0
        self.answers: list[bytes | None] = []
        self.greeting = greeting
        self.received: list[list[bytes]] = []

    def endpoint(self, **settings: Any) -> Endpoint:
        return Endpoint(host="127.0.0.1", port=self.server_address[1], **settings)


@contextmanager
def fake_server(answer: bytes | None = SILENCE, *, greeting: bytes = GREETING) -> Iterator[FakeServer]:
    with FakeServer(answer, greeting=greeting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def refusal(text: str) -> bytes:
    return f"-{text}\r\n".encode()


@pytest.mark.parametrize(("text", "kind", "code"), REPLIES, ids=[text[:24] for text, _, _ in REPLIES])
async def test_an_error_reply_becomes_what_the_caller_can_act_on(
    text: str, kind: type[StreamsError], code: str
) -> None:
    with fake_server(refusal(text)) as server:
        client = CoredisClient(server.endpoint(), SWIFT)
        with pytest.raises(StreamsError) as caught:
            await client.call("XADD", "s", "*", "d", "1")
        await client.aclose()
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert isinstance(caught.value.__cause__, Exception)
    assert server.received == [[b"XADD", b"s", b"*", b"d", b"1"]]


@pytest.mark.parametrize("answer", [None, SILENCE, b"garbage\r\n"], ids=["hangs up", "is silent", "talks nonsense"])
async def test_a_lost_reply_is_indeterminate_and_nothing_is_sent_again(answer: bytes | None) -> None:
    with fake_server(answer) as server:
        client = CoredisClient(server.endpoint(), SWIFT)
        for attempt in (
            client.call("XADD", "s", "*", "d", "1"),
            client.batch([("XADD", "s", "*", "d", "2")]),
            client.call_blocking("XREAD", "STREAMS", "s", "0", timeout=0.1),
        ):
            with pytest.raises(Indeterminate):
                await attempt
        await client.aclose()
    assert [command[0] for command in server.received] == [b"XADD", b"XADD", b"XREAD"]


async def test_a_batch_keeps_the_replies_that_came_before_the_connection_was_lost() -> None:
    with fake_server() as server:
        server.answers = [b"$3\r\n1-1\r\n", refusal("NOGROUP No such key"), b"$3\r\n1-2\r\n", None]
        client = CoredisClient(server.endpoint(), SWIFT)
        outcomes = await client.batch([("XADD", "s", "*", "d", number) for number in range(6)])
        await client.aclose()
    assert outcomes[0] == b"1-1"
    assert isinstance(outcomes[1], GroupMissing)
    assert outcomes[2] == b"1-2"
    assert [type(outcome) for outcome in outcomes[3:]] == [Indeterminate] * 3


async def test_a_batch_as_a_whole_waits_no_longer_than_one_command() -> None:
    with fake_server() as server:
        server.answers = [b"$3\r\n1-1\r\n"]
        client = CoredisClient(server.endpoint(), SWIFT)
        with anyio.fail_after(2):
            outcomes = await client.batch([("XADD", "s", "*", "d", number) for number in range(20)])
        await client.aclose()
    assert outcomes[0] == b"1-1"
    assert [type(outcome) for outcome in outcomes[1:]] == [Indeterminate] * 19


async def test_a_connection_that_owes_a_reply_is_used_no_more() -> None:
    with fake_server() as server:
        server.answers = [SILENCE, b"+OK\r\n"]
        client = CoredisClient(server.endpoint(), SWIFT)
        with pytest.raises(Indeterminate):
            await client.call("XADD", "s", "*", "d", "1")
        assert await client.call("XADD", "s", "*", "d", "2") == b"OK"
        await client.aclose()


async def test_replies_that_come_slowly_but_steadily_are_waited_for() -> None:
    with fake_server(b"+OK\r\n") as server:
        server.pause = 0.1
        client = CoredisClient(server.endpoint(), SWIFT)
        replies: list[object] = []

        async def ask() -> None:
            replies.append(await client.call("PING", keys=()))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(ask)
        await client.aclose()
    assert replies == [b"OK"] * 10


async def test_a_busy_event_loop_is_not_taken_for_a_silent_server() -> None:
    with fake_server(b"+OK\r\n") as server:
        client = CoredisClient(server.endpoint(), SWIFT)
        await client.call("PING", keys=())
        server.pause = SWIFT.command / 2
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.call("PING", keys=()))
            while len(server.received) < 2:
                await anyio.lowlevel.checkpoint()
            time.sleep(2 * SWIFT.command)  # noqa: ASYNC251 - this is what it is about
        await client.aclose()


async def test_refused_connections_are_unavailable_for_all_who_wait() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        client = CoredisClient(Endpoint(host="127.0.0.1", port=reserved.getsockname()[1]), SWIFT)
        failures: list[Unavailable] = []

        async def attempt() -> None:
            with pytest.raises(Unavailable, match="Errno") as caught:
                await client.call("PING", keys=())
            failures.append(caught.value)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(attempt)
        await client.aclose()
    assert len(set(map(id, failures))) == 20


@pytest.mark.parametrize(
    "endpoint",
    [Endpoint(host="nowhere.invalid"), Endpoint(path="/nowhere/at/all.sock")],
    ids=["no such host", "no such socket"],
)
async def test_a_server_that_is_not_there_is_unavailable(endpoint: Endpoint) -> None:
    client = CoredisClient(endpoint, SWIFT)
    with pytest.raises(Unavailable):
        await client.call("PING", keys=())
    with pytest.raises(Unavailable):
        await client.call_blocking("PING", keys=(), timeout=0.1)
    await client.aclose()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_server_that_accepts_and_does_not_greet_is_unavailable_in_time(*, tls: bool) -> None:
    with fake_server(greeting=SILENCE) as server:
        client = CoredisClient(server.endpoint(tls=tls), Timeouts(connect=0.3, command=0.3))
        with anyio.fail_after(3), pytest.raises(Unavailable):
            await client.call("PING", keys=())
        await client.aclose()
    assert server.received == []


async def test_a_server_that_is_full_is_unavailable() -> None:
    with fake_server(greeting=refusal("ERR max number of clients reached")) as server:
        client = CoredisClient(server.endpoint(), SWIFT)
        with pytest.raises(Unavailable, match="max number of clients"):
            await client.call("PING", keys=())
        await client.aclose()


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an exception and every other one it leads to, hidden or not."""
    if error is None:
        return []
    within = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [error, *(link for other in (error.__cause__, error.__context__, *within) for link in chain(other))]


@pytest.mark.parametrize("password", ["s3cret", "s3cret" * 35], ids=["short", "cut by the server"])
@pytest.mark.parametrize(
    "text",
    [
        "ERR unknown command `HELLO`, with args: `3`, `{}`",
        "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `me`, `{:.128}`, ",
        "WRONGPASS not {}",
    ],
)
async def test_no_error_repeats_the_password(text: str, password: str) -> None:
    with fake_server(greeting=refusal(text.format(password))) as server:
        client = CoredisClient(server.endpoint(username="me", password=password), SWIFT)
        with pytest.raises(StreamsError) as caught:
            await client.call("PING", keys=())
        await client.aclose()
    # Of the whole traceback only the messages count; its source lines are those of this test.
    messages = [line for line in traceback.format_exception(caught.value) if not line.startswith("  File")]
    assert "s3cret" not in "".join(messages)
    assert not any("s3cret" in f"{link} {link!r}" for link in chain(caught.value))
    assert "s3cret" not in repr(vars(client))


@pytest.mark.parametrize("argument", [None, 1.5, bytearray(b"x"), "\ud800"], ids=repr)
async def test_an_argument_that_cannot_be_sent_harms_nobody_else(argument: Any) -> None:
    with fake_server(b"+OK\r\n") as server:
        client = CoredisClient(server.endpoint(), SWIFT)
        assert await client.call("SET", "a", 1) == b"OK"
        with pytest.raises(InvalidValue):
            await client.call("SET", "a", argument)
        with pytest.raises(InvalidValue):
            await client.batch([("SET", "a", 2), ("SET", "a", argument)])
        await client.aclose()
    assert server.received == [[b"SET", b"a", b"1"]]


async def test_a_failed_opening_is_not_logged_and_leaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(), fake_server(None, greeting=refusal("ERR no")) as server:
        warnings.simplefilter("error")
        for endpoint in (server.endpoint(), Endpoint(path=str(tmp_path / "none"))):
            client = CoredisClient(endpoint, SWIFT)
            with pytest.raises(StreamsError):
                await client.call("PING", keys=())
            await client.aclose()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_what_others_log_through_coredis_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    client = CoredisClient(Endpoint(path="/nowhere/at/all.sock"), SWIFT)
    with pytest.raises(Unavailable):
        await client.call("PING", keys=())
    await client.aclose()
    logging.getLogger("coredis").error("Connection attempt failed unexpectedly!")
    assert [record.message for record in caplog.records] == ["Connection attempt failed unexpectedly!"]


def test_a_group_of_exceptions_is_what_it_holds() -> None:
    group = ExceptionGroup("unhandled", [ExceptionGroup("inner", [raised.StreamDuplicateConsumerGroupError("exists")])])
    assert isinstance(reply_failed(Endpoint(), group), GroupExists)
    assert isinstance(opening_failed(Endpoint(host="h"), ExceptionGroup("", [OSError("no route")]), None), Unavailable)


def test_who_is_not_let_in_is_told_what_says_who_they_are() -> None:
    endpoint, error = Endpoint(host="h", given_as="`client`"), raised.AuthenticationRequiredError("no")
    for failure in (opening_failed(endpoint, error, None), reply_failed(endpoint, error)):
        assert "the password in `client`." in str(failure)
