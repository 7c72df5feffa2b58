"""A minimal RESP2 client, so that the tests arrange and observe the server without the drivers under test."""

import asyncio
import socket

from papyra_streams.endpoint import Endpoint

Word = bytes | str | int
Reply = bytes | int | None | list["Reply"]


class WireError(Exception):
    """The server answered with an error."""


class Wire:
    """One connection, opened with the first command."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __call__(self, *words: Word) -> Reply:
        """Run one command; text in a reply is always bytes.

        :raises WireError: if the server answers with an error
        """
        reader, writer = self._streams or await self._open()
        return await _ask(reader, writer, words)

    async def number(self, *words: Word) -> int:
        """Run a command that answers a number."""
        reply = await self(*words)
        assert isinstance(reply, int), reply
        return reply

    async def text(self, *words: Word) -> bytes:
        """Run a command that answers a string."""
        reply = await self(*words)
        assert isinstance(reply, bytes), reply
        return reply

    async def rows(self, *words: Word) -> list[Reply]:
        """Run a command that answers a list."""
        reply = await self(*words)
        assert isinstance(reply, list), reply
        return reply

    async def keys(self, pattern: str) -> list[bytes]:
        """Return the names of the keys that match a pattern, without holding the server up."""
        found: list[bytes] = []
        cursor: Reply = 0
        while cursor != b"0":
            assert cursor is not None
            assert not isinstance(cursor, list)
            cursor, page = await self.rows("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            assert isinstance(page, list)
            found += [name for name in page if isinstance(name, bytes)]
        return found

    async def aclose(self) -> None:
        """Close the connection."""
        if self._streams is None:
            return
        (_, writer), self._streams = self._streams, None
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            # The server went first.
            return

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        here = self._endpoint
        if here.path:
            self._streams = reader, writer = await asyncio.open_unix_connection(here.path)
        else:
            self._streams = reader, writer = await asyncio.open_connection(here.host, here.port, ssl=None)
        if here.password is not None:
            await _ask(reader, writer, ("AUTH", here.username or "default", here.password))
        if here.database:
            await _ask(reader, writer, ("SELECT", here.database))
        return reader, writer


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: tuple[Word, ...]) -> Reply:
    writer.write(_encode(words))
    await writer.drain()
    return await _decode(reader)


def _encode(words: tuple[Word, ...]) -> bytes:
    texts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)


async def _decode(reader: asyncio.StreamReader) -> Reply:
    line = (await reader.readuntil(b"\r\n"))[:-2]
    kind, rest = line[:1], line[1:]
    match kind:
        case b"+":
            return rest
        case b"-":
            raise WireError(rest.decode(errors="replace"))
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else (await reader.readexactly(int(rest) + 2))[:-2]
        case b"*":
            return None if rest == b"-1" else [await _decode(reader) for _ in range(int(rest))]
        case _:
            raise WireError(f"{line!r} is no RESP2 reply")


def ask_once(endpoint: Endpoint, command: str) -> bytes:
    """Run one command without an event loop, over a connection of its own, and return the reply's text.

    :raises OSError: if the server cannot be reached, or gives no reply within two seconds
    """
    family = socket.AF_UNIX if endpoint.path else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(2.0)
        connection.connect(endpoint.path or (endpoint.host, endpoint.port))
        connection.sendall(command.encode() + b"\r\n")
        with connection.makefile("rb") as replies:
            line = replies.readline().rstrip()
            return replies.read(int(line[1:])) if line.startswith(b"$") else line
