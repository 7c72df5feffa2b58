"""The few commands that no port offers, such as to write a damaged entry and to remove keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Indeterminate, Rejected, Unavailable
from papyra_streams.tls import context_of

Reply = bytes | int | None | list["Reply"]

_REPLY_WITHIN = 5.0
# A status or an error; longer ones do not occur.
_LONGEST_LINE = 64 * 1024


class Wire:
    """One connection that speaks RESP2, for one command at a time."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._replies = BufferedByteReceiveStream(stream)

    async def __call__(self, *words: bytes | str | int) -> Reply:
        """Run one command.

        :raises Rejected: if the server refuses it
        :raises Indeterminate: if no reply comes
        """
        texts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        command = b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts)
        try:
            with anyio.fail_after(_REPLY_WITHIN):
                await self._stream.send(b"*%d\r\n%b" % (len(texts), command))
                return await self._reply()
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead) as error:
            raise Indeterminate(f"The server gave no whole reply to {words[0]!r}.") from error

    async def _reply(self) -> Reply:
        line = await self._replies.receive_until(b"\r\n", _LONGEST_LINE)
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            message = rest.decode(errors="replace")
            raise Rejected(f"The server refused: {message}.", code=message.partition(" ")[0])
        if kind == b"+":
            return rest
        size = int(rest)
        if kind == b":":
            return size
        if size < 0:
            return None
        if kind == b"*":
            return [await self._reply() for _ in range(size)]
        return (await self._replies.receive_exactly(size + 2))[:-2]


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncIterator[Wire]:
    """Open a connection, and close it in the end.

    :raises Unavailable: if the server cannot be reached
    :raises Rejected: if it does not let us in
    """
    async with await _open(endpoint) as stream:
        wire = Wire(stream)
        if endpoint.password is not None:
            await wire("AUTH", endpoint.username or "default", endpoint.password)
        if endpoint.database:
            await wire("SELECT", endpoint.database)
        yield wire


async def _open(endpoint: Endpoint) -> ByteStream:
    try:
        with anyio.fail_after(_REPLY_WITHIN):
            if endpoint.path:
                return await anyio.connect_unix(endpoint.path)
            # Redis closes TLS connections without the closing alert that "standard compatible" asks for.
            if endpoint.tls:
                return await anyio.connect_tcp(
                    endpoint.host,
                    endpoint.port,
                    tls=True,
                    ssl_context=context_of(endpoint.tls),
                    tls_standard_compatible=False,
                )
            return await anyio.connect_tcp(endpoint.host, endpoint.port)
    except OSError as error:
        raise Unavailable(f"{endpoint} cannot be reached: {error}.") from error
