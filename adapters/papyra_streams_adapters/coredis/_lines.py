"""Which connection a command goes out on."""

import anyio

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import StreamsError
from papyra_streams.ports import Timeouts

from .._resp.errors import closed, unreachable
from ._connection import Connection
from ._errors import opening_failed
from ._line import Line, make_connection, silence_failed_openings

# Commands whose callers have given up stay with a connection until they are answered, or it ends.
_MOST_UNANSWERED = 4 * 2**20


class Lines:
    """Opens connections to one server, and closes them all."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts) -> None:
        self.endpoint = endpoint
        self._timeouts = timeouts
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

    async def opened(self, line: Line) -> Connection:
        """Wait until a connection is open, and return it.

        :raises StreamsError: why it cannot be opened
        """
        outcome = await line.opened()
        if isinstance(outcome, Connection):
            return outcome
        raise self.not_sent(outcome, line.secret)

    def not_sent(self, error: Exception, secret: str | None = None) -> StreamsError:
        """Translate why a command could not be sent; the password is not to be repeated."""
        return closed() if self._is_closed else opening_failed(self.endpoint, error, secret)

    async def aclose(self) -> None:
        """Close every connection, and open no more."""
        self._is_closed = True
        for line in self._open:
            line.close()
        for line in self._open:
            await line.closed()

    async def _make_connection(self) -> Connection:
        return make_connection(self.endpoint, self._timeouts, await self.endpoint.login())


class SharedLine:
    """The one connection on which everybody's commands go out, and their replies come back in the same order."""

    def __init__(self, lines: Lines, *, patience: float) -> None:
        self._lines = lines
        self._patience = patience
        self._line: Line | None = None

    async def get(self) -> Connection:
        """Return the connection; open one, for all who wait, if there is none or it has long been silent.

        :raises Unavailable: if none can be opened, or too much is left unanswered on it
        """
        deadline: float | None = None
        while True:
            connection = self._in_use() or await self._opened()
            if connection.unanswered < _MOST_UNANSWERED:
                return connection
            deadline = deadline or anyio.current_time() + self._patience
            with anyio.CancelScope(deadline=deadline) as waiting:
                await connection.answered()
            if waiting.cancelled_caught:
                raise unreachable(self._lines.endpoint, f"{connection.unanswered} bytes of commands have no reply yet")

    def retire(self, connection: Connection) -> None:
        """Send nothing more on a connection that owes a reply, and close it when all on it have waited long enough."""
        line = self._line
        if line is not None and line.connection is connection:
            self._line = None
            line.close_later(self._patience)

    def _in_use(self) -> Connection | None:
        line = self._line
        if line is None or not line.usable or line.connection is None or self._lines.is_closed:
            return None
        if line.connection.silence < self._patience:
            return line.connection
        # Those who waited may all have given up before.
        self.retire(line.connection)
        return None

    async def _opened(self) -> Connection:
        if self._line is None or not self._line.opening:
            self._line = self._lines.begin()
        return await self._lines.opened(self._line)


class PrivateLines:
    """Connections that each caller has for itself: those for blocking reads, or for batches, at most so many."""

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
            raise unreachable(self._lines.endpoint, f"all {self._slots} connections of this kind are in use")
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
