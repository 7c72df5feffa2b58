"""The two client libraries, as far as they differ."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import Timeouts
from papyra_streams.tls import context_of
from papyra_streams_adapters._resp.client import Reply
from papyra_streams_adapters._resp.keepalive import KEEPALIVE

from .errors import ErrorTable


class Connection(Protocol):
    """What is used of a client's connection."""

    _writer: asyncio.StreamWriter | None
    username: str | None
    password: str | None

    @property
    def is_connected(self) -> bool: ...

    async def connect(self) -> None: ...

    async def disconnect(self, nowait: bool = False) -> None: ...  # noqa: FBT001, FBT002 -- the client's signature

    async def send_packed_command(self, command: bytes, check_health: bool = True) -> None: ...  # noqa: FBT001, FBT002 -- the client's signature

    async def read_response(self, *, disconnect_on_error: bool = True) -> Reply: ...


class TlsConnection(Connection, Protocol):
    """What is used of a connection over TLS besides."""

    @property
    def ssl_context(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What differs between the two clients.

    ``options`` are arguments of every connection; ``has_input`` tells whether one has something to read, or was closed.
    """

    tcp: Callable[..., Connection]
    tls: Callable[..., TlsConnection]
    unix: Callable[..., Connection]
    options: Mapping[str, object]
    has_input: Callable[[Any], Awaitable[bool]]
    errors: ErrorTable

    def connection(self, endpoint: Endpoint, timeouts: Timeouts) -> Connection:
        """Return a connection that is yet to be opened."""
        options = {
            "db": endpoint.database,
            "protocol": 2,
            "socket_connect_timeout": timeouts.connect,
            # One timer of ours spans each exchange; theirs would cut off a blocked read.
            "socket_timeout": None,
            "health_check_interval": 0,
            **self.options,
        }
        if endpoint.path:
            return self.unix(path=endpoint.path, **options)
        options |= {
            "host": endpoint.host,
            "port": endpoint.port,
            "socket_keepalive": True,
            "socket_keepalive_options": KEEPALIVE,
        }
        if not endpoint.tls:
            return self.tcp(**options)
        connection = self.tls(**options)
        # valkey-py's own does not compare the host name with the certificate's, and both trust the system's authorities
        # along with a file of ours.
        connection.ssl_context.context = context_of(endpoint.tls)
        return connection
