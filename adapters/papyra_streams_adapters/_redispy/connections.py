"""A bounded set of connections, lent to one command at a time."""

import asyncio

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import StreamsError, Unavailable
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._resp.errors import closed, repeats

from .library import Connection, Library


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
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()
        self._closed = False

    async def acquire(self) -> Connection:
        """Return a connection that is open, ours alone and has nothing left to read.

        :raises Unavailable: if all are lent and none comes back in time, or none can be opened
        :raises Closed: from `aclose` on
        """
        await self._take_slot()
        if self._closed:
            self._slots.release()
            raise closed()
        connection = self._idle.pop() if self._idle else self._library.connection(self._endpoint, self._timeouts)
        self._lent.add(connection)
        try:
            await self._open(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            self.release(connection)
            raise
        return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back; one that was cut off is forgotten."""
        self._lent.discard(connection)
        if connection.is_connected and not self._closed:
            self._idle.append(connection)
        self._slots.release()

    async def aclose(self) -> None:
        """Close every connection, lent or not. Who waits for a reply gets an error."""
        self._closed = True
        connections = [*self._idle, *self._lent]
        self._idle.clear()
        await asyncio.gather(*(connection.disconnect() for connection in connections), return_exceptions=True)

    async def _take_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self._timeouts.command):
                await self._slots.acquire()
        except TimeoutError as error:
            message = f"All {self._limit} connections to {self._endpoint} were busy for {self._timeouts.command:g} s."
            raise Unavailable(message) from error

    async def _open(self, connection: Connection) -> None:
        if connection.is_connected:
            if not await self._is_stale(connection):
                return
            await connection.disconnect(nowait=True)
        failure = await self._connect(connection)
        if failure is not None:
            raise failure
        if self._closed:
            raise closed()

    async def _connect(self, connection: Connection) -> StreamsError | None:
        """Return why the connection cannot be opened; raised outside the ``except``, it keeps no context."""
        try:
            # The clients' connect timeout ends with the TCP or TLS handshake; AUTH and SELECT have none.
            async with asyncio.timeout(self._timeouts.connect):
                await connection.connect()
        except Exception as error:
            failure = closed() if self._closed else self._library.errors.connecting(error, self._endpoint)
            if failure is None:
                raise
            if not repeats(error, self._endpoint.password):
                failure.__cause__ = error
            return failure
        return None

    async def _is_stale(self, connection: Connection) -> bool:
        """Tell whether the server has closed the connection, or left on it what nobody asked for."""
        try:
            return await self._library.has_input(connection)
        except self._library.errors.faults:
            return True
