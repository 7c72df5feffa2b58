"""The servers the suite runs on: what tests do with one, and what each kind of them has to offer."""

import random
import shlex
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread

from papyra_streams import endpoint as endpoints
from papyra_streams.endpoint import EmbeddedDirectory, Endpoint
from papyra_streams.urls import parse_url

from .wire import ask_once

LOCALHOST = "127.0.0.1"
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
START_SECONDS = 10.0
# Systems give other ports to whoever connects somewhere, also while a server is killed that is to come back.
_PORTS = range(10_000, 20_000)
# The members of a cluster talk to each other on the port so far above.
_CLUSTER_BUS = 10_000
# Several are chosen before the first of those servers has started; a long run needs more than there are.
_chosen: deque[int] = deque(maxlen=1000)


class ServerFailed(Exception):
    """A server did not start."""


class Server:
    """Where streams are: a server, a cluster, or what Sentinels watch. One that tests share is not to be harmed.

    ``url`` -- what a user would write
    ``endpoint`` -- for raw connections, which may do everything there: the server, or one of them
    """

    rights: tuple[str, ...] = ()
    """What every user of a driver has to be allowed, so that the driver finds its way."""

    def __init__(self, url: str, endpoint: Endpoint) -> None:
        self.url = url
        self.endpoint = endpoint

    @property
    def target(self) -> endpoints.Server:
        """What a driver is given."""
        return target_of(self.url)

    def url_as(self, username: str | None, password: str | None) -> str:
        """Return the URL of another user; without a password of nobody in particular."""
        address = urlsplit(self.url).netloc.rpartition("@")[2]
        login = f"{quote(username or '', safe='')}:{quote(password, safe='')}@" if password else ""
        return urlsplit(self.url)._replace(netloc=f"{login}{address}").geturl()

    def target_as(self, username: str | None, password: str | None) -> endpoints.Server:
        """Return what a driver is given that comes as another user."""
        return target_of(self.url_as(username, password))


class PrivateServer(Server, ABC):
    """A server of one test's own, which the test may harm. What it holds outlives a restart only if it ``keeps_data``.

    Of a cluster all nodes are harmed at once; Sentinels are left in peace.
    """

    keeps_data: bool

    @property
    def peer(self) -> tuple[str, int]:
        """The host and port at which other private servers reach it."""
        return self.endpoint.host, self.endpoint.port

    def start(self) -> None:
        """Start it, the first time or again, at the same address; return once it answers."""
        self.launch()
        self.wait()

    async def start_beside(self) -> None:
        """Start it, and let others run until it answers."""
        # It ends with the thread that launches it.
        self.launch()
        await anyio.to_thread.run_sync(self.wait)

    @abstractmethod
    def launch(self) -> None:
        """Begin to start it."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until it answers, once it was launched."""

    @abstractmethod
    def pause(self) -> None:
        """Stop it from running without ending a connection."""

    @abstractmethod
    def resume(self) -> None:
        """Let it run on after a pause."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, with every connection to it."""

    @abstractmethod
    def stop(self) -> None:
        """Take it away with all it left; once or more often."""


class ServerSource(ABC):
    """A kind of server the tests run on: one that they share, and as many private ones as they need."""

    name: str
    topology: str = "standalone"
    example: str = "redis://localhost"
    """What a URL of its servers looks like."""
    remark: str = ""
    """What is to be known of its servers at the end of the run."""

    @abstractmethod
    def shared(self) -> Server:
        """Return the shared server, which is started with the first call."""

    @abstractmethod
    def private(
        self,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        replica_of: PrivateServer | None = None,
    ) -> PrivateServer:
        """Start a private server of the same program.

        :param settings: as in the server's configuration file
        :param keeps_data: sync every write to an append-only file, which the next start reads
        :param replica_of: has what this other one has
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop the shared server, if the suite started it; once or more often."""


def target_of(url: str) -> endpoints.Server:
    """Return what a driver is given of a URL."""
    target = parse_url(url)
    assert not isinstance(target, EmbeddedDirectory), "it is not started yet"
    return target


def usual_settings(*, keeps_data: bool) -> dict[str, str]:
    """Return the settings of every private server."""
    durability = {"appendonly": "yes", "appendfsync": "always"} if keeps_data else {"appendonly": "no"}
    # By default a replica is made to wait for others that may come.
    return {"save": "", "repl-diskless-sync-delay": "0", **durability}


def replication(primary: PrivateServer | None) -> dict[str, str]:
    """Return the settings of a replica."""
    return {} if primary is None else {"replicaof": " ".join(map(str, primary.peer))}


def as_arguments(settings: Mapping[str, str]) -> list[str]:
    """Return settings as a server's command line; a value of several words is several arguments."""
    return [word for name, value in settings.items() for word in (f"--{name}", *(shlex.split(value) or [""]))]


def free_port() -> int:
    """Return a port that nobody listens on, nor on the one for a cluster's own talk that goes with it."""
    while True:
        port = random.choice(_PORTS)
        if port not in _chosen and _is_free(port) and _is_free(port + _CLUSTER_BUS):
            _chosen.append(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((LOCALHOST, port))
        except OSError:
            return False
    return True


def wait_until(holds: Callable[[], bool], *, otherwise: str, lives: Callable[[], bool] = lambda: True) -> None:
    """Wait for what a server that is starting has yet to do.

    :raises ServerFailed: if it ends, or does not do it in time; ``otherwise`` says what
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not lives():
            raise ServerFailed("it ended at once.")
        with suppress(OSError):
            if holds():
                return
        time.sleep(0.01)
    raise ServerFailed(f"{otherwise} within {START_SECONDS:.0f} seconds.")


def answers(endpoint: Endpoint) -> bool:
    """Tell whether a server answers.

    :raises OSError: if it cannot be reached
    """
    return ask_once(endpoint, "PING").startswith((b"+PONG", b"-NOAUTH"))
