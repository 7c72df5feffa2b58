"""A driver as somebody else may write it: RESP2 over anyio's sockets, with no client library at all."""

import select
from collections.abc import Sequence

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from papyra_streams.endpoint import Credentials, Endpoint, Server
from papyra_streams.errors import StreamsError, UnsupportedOperation
from papyra_streams.ports import StreamStore, Timeouts
from papyra_streams_adapters import (
    Argument,
    Command,
    Reply,
    RespClient,
    RespStore,
    closed,
    lost,
    server_error,
    unreachable,
)

_LONGEST_LINE = 65536
_BROKEN = (
    OSError,
    TimeoutError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.DelimiterNotFound,
    anyio.EndOfStream,
    anyio.IncompleteRead,
)


class AcmeError(Exception):
    """What this library calls an error reply."""


class _Connection:
    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._received = BufferedByteReceiveStream(stream)

    async def exchange(self, commands: Sequence[Command], replies: list[Reply | StreamsError]) -> None:
        """Send commands, and append each reply to ``replies`` as it comes."""
        await self._stream.send(b"".join(map(_encode, commands)))
        for _ in commands:
            replies.append(await self._reply())  # noqa: PERF401 -- those before one that is lost are kept

    async def _reply(self) -> Reply | StreamsError:
        line = await self._received.receive_until(b"\r\n", _LONGEST_LINE)
        kind, rest = line[:1], line[1:]
        match kind:
            case b"+":
                return rest
            case b"-":
                return server_error(rest.decode(errors="replace"))
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else (await self._received.receive_exactly(int(rest) + 2))[:-2]
            case b"*":
                return None if rest == b"-1" else [_value(await self._reply()) for _ in range(int(rest))]
        raise anyio.IncompleteRead

    def has_ended(self) -> bool:
        """Tell whether the server closed it: an idle connection has nothing else to read."""
        socket = self._stream.extra(SocketAttribute.raw_socket)
        return socket.fileno() < 0 or bool(select.select([socket], [], [], 0)[0])

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self._stream)


class AcmeClient(RespClient):
    """Runs commands over connections of its own, one command or batch at a time on each."""

    event_loops = frozenset({"asyncio", "trio"})

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts) -> None:
        self._endpoint = endpoint
        self._timeouts = timeouts
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._closed = False

    async def call(self, *command: Argument, keys: Sequence[int] = (1,)) -> Reply:  # noqa: ARG002 -- no cluster
        (reply,) = await self._exchange([command], self._timeouts.command)
        return _value(reply)

    async def batch(
        self,
        commands: Sequence[Command],
        *,
        keys: Sequence[int] = (1,),  # noqa: ARG002 -- no cluster
        timeout: float = 0.0,
    ) -> list[Reply | StreamsError]:
        return await self._exchange(commands, timeout + self._timeouts.command)

    async def call_blocking(
        self,
        *command: Argument,
        keys: Sequence[int] = (1,),  # noqa: ARG002 -- no cluster
        timeout: float,
    ) -> Reply:
        (reply,) = await self._exchange([command], timeout + self._timeouts.command)
        return _value(reply)

    async def aclose(self) -> None:
        self._closed = True
        for connection in [*self._idle, *self._busy]:
            await connection.aclose()

    async def _exchange(self, commands: Sequence[Command], timeout: float) -> list[Reply | StreamsError]:
        connection = await self._connection()
        self._busy.add(connection)
        replies: list[Reply | StreamsError] = []
        try:
            with anyio.fail_after(timeout):
                await connection.exchange(commands, replies)
        except BaseException as error:
            await connection.aclose()
            if not isinstance(error, _BROKEN):
                raise
            failure = lost(self._endpoint, str(error) or type(error).__name__)
            if not replies:
                raise failure from error
            return replies + [failure] * (len(commands) - len(replies))
        finally:
            self._busy.discard(connection)
        self._idle.append(connection)
        return replies

    async def _connection(self) -> _Connection:
        if self._closed:
            raise closed()
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_ended():
                return connection
            await connection.aclose()
        try:
            with anyio.fail_after(self._timeouts.connect):
                return await self._connect()
        except _BROKEN as error:
            raise unreachable(self._endpoint, str(error) or type(error).__name__) from error

    async def _connect(self) -> _Connection:
        login = await self._endpoint.login()
        connection = _Connection(await self._open_socket())
        try:
            replies: list[Reply | StreamsError] = []
            await connection.exchange(self._greeting(login), replies)
            for reply in replies:
                _value(reply)
        except BaseException:
            await connection.aclose()
            raise
        return connection

    async def _open_socket(self) -> SocketStream:
        if self._endpoint.path:
            return await anyio.connect_unix(self._endpoint.path)
        return await anyio.connect_tcp(self._endpoint.host, self._endpoint.port)

    def _greeting(self, login: Credentials) -> list[Command]:
        auth: list[Command] = [("AUTH", login.username or "default", login.password)] if login.password else []
        return [*auth, ("SELECT", self._endpoint.database)] if self._endpoint.database else auth


def _encode(command: Command) -> bytes:
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _value(reply: Reply | StreamsError) -> Reply:
    if isinstance(reply, StreamsError):
        raise reply from AcmeError(reply.code)
    return reply


def driver(server: Server, timeouts: Timeouts) -> StreamStore:
    """Make a store on this server; nothing is opened yet."""
    if not isinstance(server, Endpoint) or server.tls:
        raise UnsupportedOperation("The driver 'acme' reaches single servers without TLS, and nothing else.")
    return RespStore(AcmeClient(server, timeouts))
