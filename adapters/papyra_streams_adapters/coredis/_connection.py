"""coredis's connections, with a shorter way for commands out and replies back.

coredis 6.9 passes each command to a task that writes and each reply through a task that reads; with anyio's streams
below them, that is five turns of the event loop for one command, and more time than the server takes. On asyncio a
command is written where it is given, and its reply is parsed where it arrives. The handshake, the parser, the order
of replies and the end of a connection are coredis's in any case; on trio so is the rest.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import perf_counter

import anyio
import sniffio
from anyio.abc import ByteStream
from coredis.connection import BaseConnection, TCPConnection, UnixDomainSocketConnection
from coredis.connection._request import BaseRequest
from coredis.exceptions import ConnectionError as ConnectionFailed

from .._resp.packing import packed
from ._pipe import Pipe


class Awaited(BaseRequest):
    """A reply that is to come, or what came in its place. Whoever waits for it may go; it is then dropped."""

    current_decode = False
    current_encoding = "utf-8"

    def __init__(self, preceded_by: int) -> None:
        """Begin to await it; so many bytes went out on its connection before its command."""
        self.preceded_by = preceded_by
        self.begun = perf_counter()
        self._arrived = anyio.Event()
        self.outcome: object = None

    @property
    def complete(self) -> bool:
        """Whether it has come."""
        return self._arrived.is_set()

    def consume(self, response: object) -> None:
        """Take the reply, or the server's error."""
        self.outcome = response
        self._arrived.set()

    def fail(self, error: BaseException) -> None:
        """Take what ended the connection."""
        if not self.complete:
            self.consume(error)

    async def arrived(self) -> None:
        """Wait for it."""
        await self._arrived.wait()


class Connection(BaseConnection):
    """A connection that takes commands in words of bytes."""

    _pipe: Pipe | None = None
    _requests: deque[Awaited]  # type: ignore[assignment]  # once the handshake is over
    _given = 0

    @property
    def transport_healthy(self) -> bool:
        """Whether commands can be written; coredis learns of the end a turn later."""
        return super().transport_healthy and not (self._pipe and self._pipe.is_closing)

    @property
    def silence(self) -> float:
        """For how many seconds nothing has come although a reply is owed."""
        if not self._requests:
            return 0.0
        # coredis has its times from this clock.
        return perf_counter() - max(self._requests[0].begun, self.statistics.last_byte_received_at)

    @property
    def unanswered(self) -> int:
        """How many bytes of commands have no reply yet, whether they were written or not, and whoever waits."""
        return self._given - self._requests[0].preceded_by if self._requests else 0

    async def answered(self) -> None:
        """Wait until everything sent so far has a reply, or never will have one."""
        if self._requests:
            await self._requests[-1].arrived()

    def send(self, commands: Sequence[Sequence[bytes]]) -> list[Awaited]:
        """Send commands, and return the replies that are to come.

        :raises coredis.exceptions.ConnectionError: if nothing was sent, as with anyio's two below
        :raises anyio.ClosedResourceError: if the connection ends at this moment
        :raises anyio.BrokenResourceError: likewise, on trio
        """
        if not self.usable:
            raise ConnectionFailed("Connection not usable") from self._last_error
        data = packed(commands)
        if self._pipe is None:
            for command, *arguments in commands:
                self.send_command(command, *arguments)
        else:
            self._pipe.write(data)
        replies = [Awaited(self._given) for _ in commands]
        self._given += len(data)
        self._requests.extend(replies)
        return replies

    async def _lay(self, connect: Callable[[Callable[[], Pipe]], Awaitable[object]]) -> Pipe:
        self._pipe = pipe = Pipe(self._take)
        with anyio.fail_after(self._connect_timeout):
            await connect(lambda: pipe)
        return pipe

    def _take(self, data: bytes) -> None:
        self.statistics.data_received(len(data))
        self._data_received(data)


class HostConnection(Connection, TCPConnection):
    """A connection over TCP, with or without TLS."""

    async def _connect(self) -> ByteStream:
        if not _on_asyncio():
            return await super()._connect()
        # One address after the other: Python 3.11's happy eyeballs lose a socket when they are cancelled.
        create = asyncio.get_running_loop().create_connection
        pipe = await self._lay(partial(create, host=self.host, port=self.port, ssl=self._ssl_context))
        pipe.keep_alive(self._socket_keepalive_options)
        return pipe


class PathConnection(Connection, UnixDomainSocketConnection):
    """A connection over a Unix socket."""

    async def _connect(self) -> ByteStream:
        if not _on_asyncio():
            return await super()._connect()
        return await self._lay(partial(asyncio.get_running_loop().create_unix_connection, path=self.path))


def _on_asyncio() -> bool:
    return sniffio.current_async_library() == "asyncio"
