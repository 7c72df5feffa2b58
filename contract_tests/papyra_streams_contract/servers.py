"""The servers the suite runs on, and how each is had."""

import ctypes
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from papyra_streams.endpoint import EmbeddedDirectory, Endpoint
from papyra_streams.errors import StreamsError
from papyra_streams.ports import EmbeddedServers, ServerLease
from papyra_streams.urls import parse_url

from .wire import ask_once

LOCALHOST = "127.0.0.1"
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_START_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
# The members of a cluster talk to each other on the port 10,000 above.
_HIGHEST_PORT = 55_535


class ServerFailed(Exception):
    """A server did not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that all tests share. It is not to be harmed, nor emptied."""

    name: str
    url: str

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        endpoint = parse_url(self.url)
        assert isinstance(endpoint, Endpoint), self.url
        return endpoint


class PrivateServer(ABC):
    """A server of one test's own, which the test may harm. What it holds outlives a restart only where it keeps data.

    :param settings: as in the server's configuration file
    :param keeps_data: sync every write to an append-only file, which the next start reads
    """

    def __init__(self, settings: Mapping[str, str], *, keeps_data: bool) -> None:
        self.endpoint = Endpoint(host=LOCALHOST, port=free_port())
        self.keeps_data = keeps_data
        durability = {"appendonly": "yes", "appendfsync": "always"} if keeps_data else {"appendonly": "no"}
        # By default a replica is made to wait for others that may come.
        self._settings = {"save": "", "repl-diskless-sync-delay": "0", **durability, **settings}

    @property
    def peer(self) -> tuple[str, int]:
        """The host and port at which other private servers reach it."""
        return self.endpoint.host, self.endpoint.port

    @abstractmethod
    def start(self) -> None:
        """Start it, the first time or again, at the same address; return once it answers."""

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

    @abstractmethod
    def shared(self) -> Server:
        """Return the shared server, which is started with the first call."""

    @abstractmethod
    def private(self, settings: Mapping[str, str] = NO_SETTINGS, *, keeps_data: bool = False) -> PrivateServer:
        """Start a private server of the same program."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the shared server, if the suite started it."""


class ServerProcess(PrivateServer):
    """A server program, run as a child process."""

    def __init__(self, program: Path, settings: Mapping[str, str] = NO_SETTINGS, *, keeps_data: bool = False) -> None:
        super().__init__(settings, keeps_data=keeps_data)
        self._program = program
        self._directory = Path(tempfile.mkdtemp(prefix="papyra-streams-contract-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not self.keeps_data:
            shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *self._arguments()],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Cleaning up is not possible after SIGKILL, nor after SIGTERM as Python handles it.
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no thread forks here
            )
        try:
            wait_until_it_answers(self.endpoint, lives=lambda: self._running().poll() is None)
        except ServerFailed as error:
            said = self._log.read_text(errors="replace")[-2000:]
            self.stop()
            raise ServerFailed(f"{self._program} did not start: {error} It said:\n{said}") from error

    def pause(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        process, self._process = self._running(), None
        process.kill()
        process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server is not running"
        return self._process

    def _arguments(self) -> list[str]:
        port, data = str(self.endpoint.port), str(self._data)
        return ["--bind", LOCALHOST, "--port", port, "--dir", data, *as_arguments(self._settings)]


class InstalledProgram(ServerSource):
    """A server program in a folder: ``DIR/<name>/bin/server``."""

    def __init__(self, name: str, program: Path) -> None:
        self.name = name
        self._program = program
        self._process: ServerProcess | None = None

    def shared(self) -> Server:
        if self._process is None:
            self._process = self.private()
        return Server(name=self.name, url=str(self._process.endpoint))

    def private(self, settings: Mapping[str, str] = NO_SETTINGS, *, keeps_data: bool = False) -> ServerProcess:
        process = ServerProcess(self._program, settings, keeps_data=keeps_data)
        process.start()
        return process

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


class EmbeddedSource(ServerSource):
    """The server that is installed with the package, had through the entry point that ``embedded://`` uses."""

    name = "embedded"

    def __init__(self, servers: EmbeddedServers) -> None:
        self._servers = servers
        self._lease: ServerLease | None = None

    def shared(self) -> Server:
        return Server(name=self.name, url=str(self._endpoint()))

    def private(self, settings: Mapping[str, str] = NO_SETTINGS, *, keeps_data: bool = False) -> ServerProcess:
        return InstalledProgram(self.name, self._program()).private(settings, keeps_data=keeps_data)

    def stop(self) -> None:
        if self._lease is not None:
            self._lease.release()

    def _endpoint(self) -> Endpoint:
        if self._lease is None:
            try:
                self._lease = self._servers.acquire(EmbeddedDirectory(path=None))
            except StreamsError as error:
                raise ServerFailed(f"The embedded server did not start: {error}") from error
        return self._lease.endpoint

    def _program(self) -> Path:
        # A private server must be ours to signal; so it is the same program, not another lease.
        for line in ask_once(self._endpoint(), "INFO server").splitlines():
            if line.startswith(b"executable:"):
                return Path(line.partition(b":")[2].decode())
        raise ServerFailed("The embedded server does not say which program it is.")


class RunningServer(ServerSource):
    """A server that runs already. What harms a server is tested on the embedded one instead."""

    def __init__(self, url: str, embedded: EmbeddedSource | None) -> None:
        endpoint = parse_url(url)
        if not isinstance(endpoint, Endpoint):
            raise ServerFailed("--server-url names a running server; leave it out to have the embedded one.")
        self.name = f"{endpoint.host}:{endpoint.port}" if endpoint.host else endpoint.path
        self._url = url
        self._embedded = embedded

    def shared(self) -> Server:
        return Server(name=self.name, url=self._url)

    def private(self, settings: Mapping[str, str] = NO_SETTINGS, *, keeps_data: bool = False) -> ServerProcess:
        if self._embedded is None:
            raise ServerFailed("A server that runs already must not be harmed, and no embedded one is installed.")
        return self._embedded.private(settings, keeps_data=keeps_data)

    def stop(self) -> None:
        if self._embedded is not None:
            self._embedded.stop()


def programs(directory: Path) -> list[ServerSource]:
    """Return every ``<name>/bin/server`` of a directory.

    :raises ServerFailed: if there is none
    """
    found = sorted(directory.glob("*/bin/server"))
    if not found:
        raise ServerFailed(f"--servers {directory}: there is no {directory}/<name>/bin/server.")
    return [InstalledProgram(program.parent.parent.name, program.absolute()) for program in found]


def as_arguments(settings: Mapping[str, str]) -> list[str]:
    """Return settings as a server's command line; a value of several words is several arguments."""
    return [word for name, value in settings.items() for word in (f"--{name}", *(shlex.split(value) or [""]))]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """Return a port that nobody listens on."""
    while True:
        with socket.socket() as listener:
            listener.bind((LOCALHOST, 0))
            port: int = listener.getsockname()[1]
        if port <= _HIGHEST_PORT:
            return port


def wait_until_it_answers(endpoint: Endpoint, *, lives: Callable[[], bool]) -> None:
    """Wait for a server that is starting.

    :raises ServerFailed: if it ends, or does not answer in time
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if not lives():
            raise ServerFailed("it ended at once.")
        with suppress(OSError):
            if ask_once(endpoint, "PING").startswith((b"+PONG", b"-NOAUTH")):
                return
        time.sleep(0.01)
    raise ServerFailed(f"no answer within {_START_SECONDS:.0f} seconds.")
