"""Where the servers are, and who we are there: what every driver is given."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from inspect import isawaitable

from papyra_streams.errors import InvalidValue, Unavailable

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who we are at a server: ``username`` is None for the server's default user, ``password`` where it needs none."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


CredentialsProvider = Callable[[], Credentials | Awaitable[Credentials]]
"""Is asked before each connection is opened, so that a password may change; it must not block the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS, with the server's certificate and host name verified.

    ``ca`` -- the PEM file of the authorities that are trusted; None for the system's
    ``cert``, ``key`` -- the PEM files of our own certificate and its key, where the server asks for one
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    context: ssl.SSLContext | None = field(default=None, repr=False)
    """Takes the place of the files: what a client that the user has built verifies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server: a TCP address, or the path of a Unix socket, and who we are there."""

    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""
    tls: Tls | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials: CredentialsProvider | None = field(default=None, repr=False)
    """Takes the place of ``username`` and ``password``."""
    given_as: str = field(default="`url`", repr=False, compare=False)
    """What has said all this, as messages name it."""

    def __str__(self) -> str:
        """Name the server as people write it, without user name and password."""
        if self.path:
            return f"unix://{self.path}"
        return f"{'rediss' if self.tls else 'redis'}://{self.address}/{self.database}"

    @property
    def address(self) -> str:
        """The host and the port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def login_given_as(self) -> str:
        """What says who we are there, as messages name it."""
        return "what `credentials` returns" if self.credentials and self.given_as == "`url`" else self.given_as

    def correction(self, *, url: str, client: str) -> str:
        """Return what to do: whether a URL has said all this, or a client of the user's."""
        return url if self.given_as == "`url`" else client

    def at(self, host: str, port: int) -> "Endpoint":
        """Name another server of the same kind, where we are the same."""
        return replace(self, host=host, port=port)

    def over(self, path: str) -> "Endpoint":
        """Name the server behind a Unix socket, where we are the same; it knows no TLS."""
        return replace(self, path=path, tls=None)

    async def login(self) -> Credentials:
        """Return who we are there now.

        :raises Unavailable: if the callable for credentials fails
        :raises InvalidValue: if it returns something else
        """
        if self.credentials is None:
            return Credentials(username=self.username, password=self.password)
        found: object = None
        failed_with = ""
        try:
            given = self.credentials()
            found = await given if isawaitable(given) else given
        except Exception as error:  # noqa: BLE001 -- its message may hold what it was about to return, and is not kept
            failed_with = type(error).__name__
        if failed_with:
            raise Unavailable(f"Asking for credentials failed with {failed_with}.")
        if not isinstance(found, Credentials):
            raise InvalidValue(f"The callable `credentials` must return Credentials, not {type(found).__name__}.")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNodes:
    """A cluster, by some of its nodes: any of them tells of all the others. Who we are, we are on each."""

    nodes: tuple[Endpoint, ...]

    def __str__(self) -> str:
        """Name the cluster as people write it, without user name and password."""
        return f"{_scheme(self.nodes[0])}+cluster://{_addresses(self.nodes)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelService:
    """A primary and its replicas, which Sentinels watch under a name.

    ``sentinels`` -- where they are, and who we are there
    ``primary`` -- what all servers of the service have in common: all but the address
    """

    name: str
    sentinels: tuple[Endpoint, ...]
    primary: Endpoint

    def __str__(self) -> str:
        """Name the service as people write it, without user names and passwords."""
        scheme = _scheme(self.primary)
        return f"{scheme}+sentinel://{_addresses(self.sentinels)}/{self.name}/{self.primary.database}"


Server = Endpoint | ClusterNodes | SentinelService
"""Where the streams are: one server, a cluster, or whichever server the Sentinels say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDirectory:
    """A server to be started on demand. ``path`` is where its data stay; None throws them away with the server."""

    path: str | None


def _scheme(endpoint: Endpoint) -> str:
    return "rediss" if endpoint.tls else "redis"


def _addresses(endpoints: tuple[Endpoint, ...]) -> str:
    return ",".join(endpoint.address for endpoint in endpoints)
