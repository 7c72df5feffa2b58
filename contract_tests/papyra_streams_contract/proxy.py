"""TCP proxies that harm single connections while the server behind them is well."""

import asyncio
import random
import socket
import struct
from collections import deque
from types import TracebackType
from typing import Self

import pytest

from papyra_streams import endpoint as endpoints

from .servers import LOCALHOST, Server, target_of

_LISTS = {b"*": 1, b"~": 1, b">": 1, b"%": 2}
_TEXTS = (b"$", b"=", b"!")
_SCRIPT_CALLS = (b"EVALSHA", b"EVAL")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

before_one_server = pytest.mark.topologies(
    "standalone", "acl", reason="a proxy stands before one server, and reads what it passes on"
)
"""For tests with a proxy."""


class Proxy:
    """Stands before a server, and passes on requests and replies: one reply after another, ``delay`` s each."""

    def __init__(self, server: Server) -> None:
        self.delay = 0.0
        self._server = server
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()

    @property
    def url(self) -> str:
        """The server's URL, but for where this listens."""
        assert self._listener is not None, "the proxy is not open"
        host, port = self._listener.sockets[0].getsockname()
        return self._server.url.replace(self._server.endpoint.address, f"{host}:{port}")

    @property
    def target(self) -> endpoints.Server:
        """What a driver is given."""
        return target_of(self.url)

    def fall_silent(self) -> None:
        """Pass nothing more on over the connections there are; those made from now on work."""
        self._passing.clear()
        self._passing = asyncio.Event()
        self._passing.set()

    def reset(self) -> None:
        """End every connection as a host does that has been started anew: without a word, until it is spoken to."""
        for client in self._clients:
            below = client.get_extra_info("socket")
            below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            client.transport.abort()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, LOCALHOST, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _altered(self, reply: bytes, *, to_script: bool) -> bytes:  # noqa: ARG002 -- for those that alter some
        """Return what is passed on of a reply; where it is not all, it is the connection's last word."""
        return reply

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = self._server.endpoint
        try:
            upstream = await asyncio.open_connection(behind.host, behind.port)
        except OSError:
            writer.transport.abort()
            return
        awaited: deque[bool] = deque()
        pumps = [
            asyncio.ensure_future(_pass_requests(reader, upstream[1], awaited, self._passing)),
            asyncio.ensure_future(self._pass_replies(upstream[0], writer, awaited, self._passing)),
        ]
        self._clients.add(writer)
        try:
            # Whichever side ends first, the connection has ended.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(writer)
            for pump in pumps:
                pump.cancel()
            writer.close()
            upstream[1].close()
            # The other side may have gone first.
            await asyncio.gather(*pumps, writer.wait_closed(), upstream[1].wait_closed(), return_exceptions=True)

    async def _pass_replies(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        awaited: deque[bool],
        passing: asyncio.Event,
    ) -> None:
        while True:
            reply = await read_frame(reader)
            # What the server says unasked (RESP3) answers no request.
            to_script = not reply.startswith(b">") and awaited.popleft()
            await asyncio.sleep(self.delay)
            await passing.wait()
            passed = self._altered(reply, to_script=to_script)
            writer.write(passed)
            if len(passed) < len(reply):
                return
            await writer.drain()


class ReplyCutter(Proxy):
    """Cuts the connection at a random byte of every third reply to an append: the server has run it, unheard.

    An append is a script call whose reply is a number. ``appends`` counts them, ``cuts`` those whose reply was cut.

    :param every: which replies are cut, 3 for every third
    """

    def __init__(self, server: Server, *, every: int = 3, seed: int | None = None) -> None:
        super().__init__(server)
        self._every = every
        self.seed = random.randrange(2**32) if seed is None else seed
        self.appends = 0
        self.cuts = 0
        self._random = random.Random(self.seed)

    def _altered(self, reply: bytes, *, to_script: bool) -> bytes:
        if to_script and reply.startswith(b":") and self._is_to_be_cut():
            return reply[: self._random.randrange(len(reply))]
        return reply

    def _is_to_be_cut(self) -> bool:
        self.appends += 1
        cut = self.appends % self._every == 0
        self.cuts += cut
        return cut


async def _pass_requests(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, awaited: deque[bool], passing: asyncio.Event
) -> None:
    while True:
        request = await read_frame(reader)
        await passing.wait()
        awaited.append(request.split(b"\r\n", 3)[2].upper() in _SCRIPT_CALLS)
        writer.write(request)
        await writer.drain()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read one whole request or reply of RESP2 or RESP3, as it is."""
    head = await reader.readuntil(b"\r\n")
    kind, size = head[:1], head[1:-2]
    if kind in _TEXTS:
        return head if size == b"-1" else head + await reader.readexactly(int(size) + 2)
    if kind in _LISTS and size != b"-1":
        return head + b"".join([await read_frame(reader) for _ in range(int(size) * _LISTS[kind])])
    return head
