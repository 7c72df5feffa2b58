"""Which connection a command goes out on."""

import ssl

import anyio
from coredis.connection import BaseConnection

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import StreamsError
from papyra_streams.ports import Timeouts

from .._resp.errors import closed, unreachable
from ._errors import opening_failed
from ._line import Line, make_connection, silence_failed_openings


class Lines:
    """Opens connections to one server, and closes them all."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts) -> None:
        self.endpoint = endpoint
        self._timeouts = timeouts
        self._tls: ssl.SSLContext | None = None
        self._open: set[Line] = set()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._is_closed

    def begin(self) -> Line:
        """Begin to open one more connection."""
        if self._is_closed:
            raise closed()
        silence_failed_openings()
        self._open = {line for line in self._open if not line.done}
        line = Line(self._make_connection, patience=self._timeouts.connect + self._timeouts.command)
        self._open.add(line)
        return line

    async def opened(self, line: Line) -> BaseConnection:
        """Wait until a connection is open, and return it.

        :raises StreamsError: why it cannot be opened
        """
        outcome = await line.opened()
        if isinstance(outcome, BaseConnection):
            return outcome
        raise self.not_sent(outcome)

    def not_sent(self, error: Exception) -> StreamsError:
        """Translate why a command could not be sent."""
        return closed() if self._is_closed else opening_failed(self.endpoint, error)

    async def aclose(self) -> None:
        """Close every connection, and open no more."""
        self._is_closed = True
        for line in self._open:
            line.close()
        for line in self._open:
            await line.closed()

    def _make_connection(self) -> BaseConnection:
        if self.endpoint.tls and self._tls is None:
            # coredis 6.9's own context does not check the host name.
            self._tls = ssl.create_default_context()
        return make_connection(self.endpoint, self._timeouts, self._tls)


class SharedLine:
    """The one connection on which everybody's commands go out, and their replies come back in the same order."""

    def __init__(self, lines: Lines, *, grace: float) -> None:
        self._lines = lines
        self._grace = grace
        self._line: Line | None = None

    async def get(self) -> BaseConnection:
        """Return the connection; open one, for all who wait, if there is none."""
        line = self._line
        if line is not None and line.usable and line.connection and not self._lines.is_closed:
            return line.connection
        if line is None or not line.opening:
            line = self._line = self._lines.begin()
        return await self._lines.opened(line)

    def retire(self, connection: BaseConnection) -> None:
        """Send nothing more on a connection that owes a reply, and close it when all on it have waited long enough."""
        line = self._line
        if line is not None and line.connection is connection:
            self._line = None
            line.close_later(self._grace)


class PrivateLines:
    """Connections that a blocking read or a batch has for itself, at most so many of them."""

    def __init__(self, lines: Lines, *, slots: int, patience: float) -> None:
        self._lines = lines
        self._slots = slots
        self._patience = patience
        self._free = anyio.Semaphore(slots)
        self._idle: list[Line] = []

    async def take(self) -> Line:
        """Return an open connection; wait if all are in use.

        :raises Unavailable: if none became free in time, or none can be opened
        """
        if self._lines.is_closed:
            raise closed()
        with anyio.move_on_after(self._patience) as scope:
            await self._free.acquire()
        if scope.cancelled_caught:
            raise unreachable(
                self._lines.endpoint, f"all {self._slots} connections for blocking reads and batches are in use"
            )
        try:
            line = self._pop_idle() or self._lines.begin()
        except BaseException:
            self._free.release()
            raise
        try:
            await self._lines.opened(line)
        except BaseException:
            self.give_back(line)
            raise
        return line

    def give_back(self, line: Line) -> None:
        """Let others use the connection, if it still is one; also one whose opener was cancelled."""
        if line.usable or line.opening:
            self._idle.append(line)
        self._free.release()

    def _pop_idle(self) -> Line | None:
        while self._idle:
            line = self._idle.pop()
            if line.usable or line.opening:
                return line
        return None
