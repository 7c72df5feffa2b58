"""One connection of coredis, from its opening to its end."""

import logging
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from coredis.connection import TCPLocation, UnixDomainSocketLocation

from papyra_streams.endpoint import Credentials, Endpoint
from papyra_streams.ports import Timeouts
from papyra_streams.tasks import spawn
from papyra_streams.tls import context_of

from .._resp.keepalive import KEEPALIVE
from ._connection import Connection, HostConnection, PathConnection

_is_ours: ContextVar[bool] = ContextVar("papyra_streams_coredis_line", default=False)


def make_connection(endpoint: Endpoint, timeouts: Timeouts, login: Credentials) -> Connection:
    """Make a connection that is not open yet."""
    # coredis 6.9 waits without limit by default, and for the greeting as long as for any reply.
    if endpoint.path:
        return PathConnection(
            UnixDomainSocketLocation(endpoint.path),
            connect_timeout=timeouts.connect,
            stream_timeout=timeouts.command,
            username=login.username,
            password=login.password,
            db=endpoint.database,
        )
    return HostConnection(
        TCPLocation(endpoint.host, endpoint.port),
        connect_timeout=timeouts.connect,
        stream_timeout=timeouts.command,
        username=login.username,
        password=login.password,
        db=endpoint.database,
        # coredis 6.9's own context does not check the host name.
        ssl_context=context_of(endpoint.tls) if endpoint.tls else None,
        socket_keepalive=True,
        socket_keepalive_options=dict(KEEPALIVE),
    )


class Line:
    """A connection that is opened, kept and closed in one task of its own, as coredis demands.

    Neither coredis 6.9's pool nor its client is used: the pool loses a slot for ever with each cancelled blocking read
    and each failed connect, and must be left by the task that entered it.
    """

    def __init__(self, make: Callable[[], Awaitable[Connection]], *, patience: float) -> None:
        self._make = make
        self._scope = anyio.CancelScope(deadline=anyio.current_time() + patience)
        self._settled = anyio.Event()
        self._error: Exception | None = None
        self.connection: Connection | None = None
        self._task = spawn(self._run, name="coredis line")

    @property
    def usable(self) -> bool:
        """Whether commands can be sent on it now."""
        return self.connection is not None and self.connection.usable

    @property
    def secret(self) -> str | None:
        """The password it was to be opened with."""
        return self.connection._password if self.connection else None  # noqa: SLF001 -- coredis tells of it nowhere else

    @property
    def opening(self) -> bool:
        """Whether it is not known yet if it can be opened."""
        return not self._settled.is_set()

    @property
    def done(self) -> bool:
        """Whether it has come to its end."""
        return self._task.done

    async def opened(self) -> Connection | Exception:
        """Wait until the connection is open, and return it; or return what coredis raised."""
        await self._settled.wait()
        if self.connection is not None and self.connection.usable:
            return self.connection
        return self._error or ConnectionError("the connection was closed while it was being opened")

    def close(self) -> None:
        """Close the connection now; what still waits for a reply fails."""
        if self.connection is not None:
            # Without this coredis 6.9 calls it usable until the last of its tasks has ended.
            self.connection.invalidate()
        self.close_later(0)

    def close_later(self, seconds: float) -> None:
        """Close the connection after so many seconds."""
        self._scope.deadline = min(self._scope.deadline, anyio.current_time() + seconds)

    async def closed(self) -> None:
        """Wait until the connection is closed."""
        await self._task.wait()

    def started(self, _: None = None) -> None:
        """Take coredis's word that the connection is open."""
        self._scope.deadline = math.inf
        self._settled.set()

    async def _run(self) -> None:
        _is_ours.set(True)
        try:
            with self._scope:
                self.connection = await self._make()
                await self.connection.run(task_status=self)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the connection
            self._error = error
        finally:
            if self.connection is not None:
                _close_buffers(self.connection)
            self._settled.set()


def _close_buffers(connection: Connection) -> None:
    # coredis 6.9 leaves them open when it cannot connect, which shows as a ResourceWarning.
    for value in vars(connection).values():
        if isinstance(value, MemoryObjectSendStream | MemoryObjectReceiveStream):
            value.close()


def silence_failed_openings() -> None:
    """Keep coredis 6.9 from logging, with its traceback, each failed opening of ours: the caller gets the error."""
    logging.getLogger("coredis").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not (_is_ours.get() and str(record.msg).startswith("Connection attempt failed"))
