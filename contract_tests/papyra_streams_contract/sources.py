"""Where the suite has single servers from."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from papyra_streams.endpoint import EmbeddedDirectory, Endpoint
from papyra_streams.errors import StreamsError
from papyra_streams.ports import EmbeddedServers, ServerLease
from papyra_streams.urls import parse_url

from .processes import ServerProcess
from .servers import NO_SETTINGS, PrivateServer, Server, ServerFailed, ServerSource, replication
from .wire import ask_once


class ProgramSource(ServerSource):
    """A server program that is here."""

    @property
    @abstractmethod
    def program(self) -> Path:
        """Where it is."""

    def private(
        self,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        replica_of: PrivateServer | None = None,
    ) -> ServerProcess:
        process = ServerProcess(self.program, {**replication(replica_of), **settings}, keeps_data=keeps_data)
        process.start()
        return process


class InstalledProgram(ProgramSource):
    """A server program in a folder: ``DIR/<name>/bin/server``."""

    def __init__(self, name: str, program: Path) -> None:
        self.name = name
        self._program = program
        self._process: ServerProcess | None = None

    @property
    def program(self) -> Path:
        return self._program

    def shared(self) -> Server:
        if self._process is None:
            self._process = self.private()
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


class EmbeddedSource(ProgramSource):
    """The server that is installed with the package, had through the entry point that ``embedded://`` uses."""

    name = "embedded"

    def __init__(self, servers: EmbeddedServers) -> None:
        self._servers = servers
        self._lease: ServerLease | None = None

    def shared(self) -> Server:
        endpoint = self._endpoint()
        return Server(str(endpoint), endpoint)

    @property
    def program(self) -> Path:
        # A private server must be ours to signal; so it is the same program, not another lease.
        for line in ask_once(self._endpoint(), "INFO server").splitlines():
            if line.startswith(b"executable:"):
                return Path(line.partition(b":")[2].decode())
        raise ServerFailed("The embedded server does not say which program it is.")

    def stop(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _endpoint(self) -> Endpoint:
        if self._lease is None:
            try:
                self._lease = self._servers.acquire(EmbeddedDirectory(path=None))
            except StreamsError as error:
                raise ServerFailed(f"The embedded server did not start: {error}") from error
        return self._lease.endpoint


class RunningServer(ServerSource):
    """A server that runs already. What harms a server is tested on the embedded one instead."""

    def __init__(self, url: str, embedded: EmbeddedSource | None) -> None:
        endpoint = parse_url(url)
        if not isinstance(endpoint, Endpoint):
            raise ServerFailed("--server-url names a single server that runs; leave it out to have the embedded one.")
        self.name = f"{endpoint.host}:{endpoint.port}" if endpoint.host else endpoint.path
        self._server = Server(url, endpoint)
        self._embedded = embedded

    def shared(self) -> Server:
        return self._server

    def private(
        self,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        replica_of: PrivateServer | None = None,
    ) -> ServerProcess:
        if self._embedded is None:
            raise ServerFailed("A server that runs already must not be harmed, and no embedded one is installed.")
        return self._embedded.private(settings, keeps_data=keeps_data, replica_of=replica_of)

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
