"""A minimal RESP2 client, so that the tests arrange and observe the server without the drivers under test."""

import asyncio
import re
import socket
import ssl
from contextlib import suppress

from papyra_streams.endpoint import Endpoint, Tls

Word = bytes | str | int
Reply = bytes | int | None | list["Reply"]
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_MOVED = re.compile(r"MOVED \d+ (?P<host>\S+):(?P<port>\d+)")


class WireError(Exception):
    """The server answered with an error."""


class Wire:
    """One connection, opened with the first command; to a cluster one to each node that has the keys of a command."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._opened: dict[Endpoint, _Streams] = {}

    async def __call__(self, *words: Word) -> Reply:
        """Run one command; text in a reply is always bytes.

        :raises WireError: if the server answers with an error
        """
        try:
            return await self._run(self._endpoint, words)
        except WireError as error:
            moved = _MOVED.match(str(error))
            if moved is None:
                raise
            return await self._run(self._endpoint.at(moved["host"], int(moved["port"])), words)

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
        return [name for node in await self._nodes() for name in await self._keys(node, pattern)]

    async def everywhere(self, *words: Word) -> list[Reply]:
        """Run one command on every server that has keys: on all primaries of a cluster."""
        return [await self._run(node, words) for node in await self._nodes()]

    async def aclose(self) -> None:
        """Close the connection."""
        opened, self._opened = self._opened, {}
        for _, writer in opened.values():
            writer.close()
            # The server may have gone first.
            with suppress(OSError):
                await writer.wait_closed()

    async def _nodes(self) -> list[Endpoint]:
        if b"cluster_enabled:1" not in await self.text("INFO", "cluster"):
            return [self._endpoint]
        found: dict[Endpoint, None] = {}
        for row in await self.rows("CLUSTER", "SLOTS"):
            match row:
                case [_, _, [bytes(host), int(port), *_], *_]:
                    # A node that is alone does not know its own name.
                    found[self._endpoint.at(host.decode() or self._endpoint.host, port)] = None
        return list(found)

    async def _keys(self, node: Endpoint, pattern: str) -> list[bytes]:
        found: list[bytes] = []
        cursor: Reply = 0
        while cursor != b"0":
            reply = await self._run(node, ("SCAN", _word(cursor), "MATCH", pattern, "COUNT", 1000))
            assert isinstance(reply, list)
            cursor, page = reply
            assert isinstance(page, list)
            found += [name for name in page if isinstance(name, bytes)]
        return found

    async def _run(self, node: Endpoint, words: tuple[Word, ...]) -> Reply:
        return await _ask(*(self._opened.get(node) or await self._open(node)), words)

    async def _open(self, here: Endpoint) -> _Streams:
        if here.path:
            streams = await asyncio.open_unix_connection(here.path)
        else:
            streams = await asyncio.open_connection(here.host, here.port, ssl=here.tls and _context(here.tls))
        self._opened[here] = streams
        if here.password is not None:
            await _ask(*streams, ("AUTH", here.username or "default", here.password))
        if here.database:
            await _ask(*streams, ("SELECT", here.database))
        return streams


def _word(reply: Reply) -> Word:
    assert reply is not None
    assert not isinstance(reply, list)
    return reply


def _context(tls: Tls) -> ssl.SSLContext:
    # Whose certificate that is is the drivers' to ask: tests look at servers whose certificates are no good.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key)
    return context


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
    with _connected(endpoint) as connection:
        commands = [] if endpoint.password is None else [f"AUTH {endpoint.username or 'default'} {endpoint.password}"]
        connection.sendall("".join(f"{each}\r\n" for each in (*commands, command)).encode())
        with connection.makefile("rb") as replies:
            for _ in commands:
                replies.readline()
            line = replies.readline().rstrip()
            return replies.read(int(line[1:])) if line.startswith(b"$") else line


def _connected(endpoint: Endpoint) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX if endpoint.path else socket.AF_INET)
    try:
        connection.settimeout(2.0)
        connection.connect(endpoint.path or (endpoint.host, endpoint.port))
        return _context(endpoint.tls).wrap_socket(connection) if endpoint.tls else connection
    except OSError:
        connection.close()
        raise
