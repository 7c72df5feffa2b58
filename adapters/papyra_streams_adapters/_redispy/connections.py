"""A bounded set of connections, lent to one command at a time."""

import asyncio

from papyra_streams.endpoint import Credentials, Endpoint
from papyra_streams.errors import StreamsError, Unavailable
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._resp.errors import closed, repeats, unreachable

from .library import Connection, Library
from .patience import Patience


class Line:
    """A connection, the socket under it, and the time limit on what it is used for."""

    __slots__ = ("connection", "patience", "transport")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.patience = Patience()
        self.transport: asyncio.WriteTransport | None = None

    def opened(self) -> None:
        """Take note of the socket that the connection has now."""
        writer = self.connection._writer  # noqa: SLF001 -- the clients tell of it nowhere else
        self.transport = writer.transport if writer else None

    def cut(self) -> None:
        """Close the socket now. The clients keep it until it has taken all they wrote, however late that is."""
        if self.transport is not None:
            self.transport.abort()
            self.transport = None


class Connections:
    """Lends connections, at most ``limit`` at a time and the most recently used first.

    The clients' own pools are not used: they await in ``release``, where a cancellation may strand a connection, and go
    on lending after they were closed.
    """

    def __init__(self, library: Library, endpoint: Endpoint, timeouts: Timeouts, *, limit: int) -> None:
        self._library = library
        self._endpoint = endpoint
        self._timeouts = timeouts
        self._limit = limit
        self._slots = asyncio.Semaphore(limit)
        self._idle: list[Line] = []
        self._lent: set[Line] = set()
        self._closed = False

    async def acquire(self) -> Line:
        """Return a connection that is open, ours alone and has nothing left to read.

        :raises Unavailable: if all are lent and none comes back in time, or none can be opened
        :raises Closed: from `aclose` on
        """
        if self._slots.locked():
            await self._wait_for_slot()
        else:
            await self._slots.acquire()
        if self._closed:
            self._slots.release()
            raise closed()
        try:
            line = self._idle.pop() if self._idle else Line(self._library.connection(self._endpoint, self._timeouts))
        except BaseException:
            self._slots.release()
            raise
        self._lent.add(line)
        try:
            # The clients do not see that the other side has reset the connection.
            if line.transport is None or line.transport.is_closing() or await self._is_stale(line.connection):
                await self._open(line)
        except BaseException:
            await line.connection.disconnect(nowait=True)
            self.release(line)
            raise
        return line

    def release(self, line: Line) -> None:
        """Take a connection back; one that was cut off is forgotten."""
        self._lent.discard(line)
        if line.connection.is_connected and not self._closed:
            self._idle.append(line)
        else:
            line.patience.end()
            line.cut()
        self._slots.release()

    async def aclose(self) -> None:
        """Close every connection, lent or not. Who waits for a reply gets an error."""
        self._closed = True
        for line in self._idle:
            line.patience.end()
        lines = [*self._idle, *self._lent]
        self._idle.clear()
        for line in lines:
            line.cut()
        await asyncio.gather(*(line.connection.disconnect() for line in lines), return_exceptions=True)

    async def _wait_for_slot(self) -> None:
        try:
            async with asyncio.timeout(self._timeouts.command):
                await self._slots.acquire()
        except TimeoutError as error:
            message = f"All {self._limit} connections to {self._endpoint} were busy for {self._timeouts.command:g} s."
            raise Unavailable(message) from error

    async def _open(self, line: Line) -> None:
        if line.connection.is_connected:
            await line.connection.disconnect(nowait=True)
        failure = await self._connect(line.connection)
        if failure is not None:
            raise failure
        line.opened()
        if self._closed:
            raise closed()

    async def _connect(self, connection: Connection) -> StreamsError | None:
        """Return why the connection cannot be opened; raised outside the ``except``, it keeps no context."""
        login = await self._login()
        connection.username, connection.password = login.username, login.password
        try:
            # The clients' connect timeout ends with the TCP or TLS handshake; AUTH and SELECT have none.
            async with asyncio.timeout(self._timeouts.connect):
                await connection.connect()
        except Exception as error:
            failure = closed() if self._closed else self._library.errors.connecting(error, self._endpoint)
            if failure is None:
                raise
            if not repeats(error, login.password):
                failure.__cause__ = error
            return failure
        return None

    async def _login(self) -> Credentials:
        try:
            async with asyncio.timeout(self._timeouts.connect):
                return await self._endpoint.login()
        except TimeoutError as error:
            raise unreachable(self._endpoint, "asking for credentials takes too long") from error

    async def _is_stale(self, connection: Connection) -> bool:
        """Tell whether the server has closed the connection, or left on it what nobody asked for."""
        try:
            return await self._library.has_input(connection)
        except self._library.errors.faults:
            return True
