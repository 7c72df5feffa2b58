"""Servers that are reached through TLS alone."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from papyra_streams.endpoint import Endpoint, Tls

from ..processes import ServerProcess
from ..servers import LOCALHOST, START_SECONDS, PrivateServer, ServerFailed, free_port, replication
from ..sources import ProgramSource
from .access import Access
from .base import TopologySource
from .certificates import Authority

HOST = "localhost"
_TERMINATOR = Path(__file__).with_name("terminator.py")
# What a program says that is to listen with TLS, and is told of no certificate.
_KNOWS_TLS = "No tls-cert-file configured"
_LACKS_TLS = ("Bad directive", "Failed finding TLS support")


class Terminator(ServerProcess):
    """Ends TLS before a server."""

    def __init__(self, server: ServerProcess, settings: Mapping[str, str], endpoint: Endpoint, url: str) -> None:
        super().__init__(Path(sys.executable), endpoint=endpoint, url=url)
        self._server = server
        self._shown = settings

    def _arguments(self) -> list[str]:
        _, behind = self._server.peer
        settings = [f"{name}={value}" for name, value in self._shown.items()]
        return [str(_TERMINATOR), str(self.endpoint.port), str(behind), *settings]


class TerminatedServer(PrivateServer):
    """A server without TLS, and what ends TLS before it; both are harmed at once."""

    def __init__(self, server: ServerProcess, terminator: Terminator) -> None:
        super().__init__(terminator.url, terminator.endpoint)
        self.keeps_data = server.keeps_data
        self._server = server
        self._terminator = terminator

    @property
    def peer(self) -> tuple[str, int]:
        return self._server.peer

    def launch(self) -> None:
        self._server.launch()
        self._terminator.launch()

    def wait(self) -> None:
        self._server.wait()
        self._terminator.wait()

    def pause(self) -> None:
        self._terminator.pause()
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()
        self._terminator.resume()

    def kill(self) -> None:
        self._terminator.kill()
        self._server.kill()

    def stop(self) -> None:
        self._terminator.stop()
        self._server.stop()


class TlsSource(TopologySource):
    """Servers with TLS. Before a program that was built without it stands another one, which ends it."""

    topology = "tls"
    example = "rediss://localhost"

    def __init__(self, source: ProgramSource) -> None:
        super().__init__(source)
        self._directory = tempfile.TemporaryDirectory(prefix="papyra-streams-certificates-")

    @property
    def directory(self) -> Path:
        """Where the certificates are."""
        return Path(self._directory.name)

    @cached_property
    def authority(self) -> Authority:
        """Who issues the certificates of the servers and of their clients."""
        return Authority(self.directory, "authority")

    def access(self, *hosts: str, password: str | None = None) -> Access:
        """Return how servers are reached that show a certificate for hosts, also to each other, if they have TLS."""
        certificate = self.authority.issue("-".join(hosts), *hosts)
        shared = {"tls-replication": "yes", "tls-cluster": "yes"}
        return Access(
            password=password,
            tls=self._raw,
            certificates={**self._certified, **certificate.settings, **shared},
            ca=str(self.authority.file),
        )

    def stop(self) -> None:
        super().stop()
        self._directory.cleanup()

    def _make(
        self, settings: Mapping[str, str], *, keeps_data: bool, replica_of: PrivateServer | None
    ) -> PrivateServer:
        shown = {**self._certified, **{name: value for name, value in settings.items() if name.startswith("tls-")}}
        others = {name: value for name, value in settings.items() if name not in shown} | replication(replica_of)
        endpoint = Endpoint(host=LOCALHOST, port=free_port(), tls=self._raw)
        url = f"rediss://{HOST}:{endpoint.port}/0?ca={quote(str(self.authority.file))}"
        program = self.program
        if not self.has_tls:
            self.remark = f"{self.single.name} was built without TLS: another program ends it before the server"
            server = ServerProcess(program, others, keeps_data=keeps_data)
            return TerminatedServer(server, Terminator(server, shown, endpoint, url))
        secured = {"tls-replication": "yes", **shown, **others}
        return ServerProcess(program, secured, keeps_data=keeps_data, endpoint=endpoint, url=url)

    @cached_property
    def _certified(self) -> dict[str, str]:
        usual = self.authority.issue("server", HOST, LOCALHOST)
        return {**usual.settings, "tls-ca-cert-file": str(self.authority.file), "tls-auth-clients": "no"}

    @cached_property
    def _raw(self) -> Tls:
        """What raw connections show, in case that the server asks for it."""
        shown = self.authority.issue("observer", "observer")
        return Tls(cert=str(shown.cert), key=str(shown.key))

    @cached_property
    def has_tls(self) -> bool:
        """Whether the program was built with TLS."""
        command = [str(self.program), "--port", "0", "--tls-port", str(free_port())]
        run = subprocess.run(
            command,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=START_SECONDS,
        )
        said = run.stdout + run.stderr
        if _KNOWS_TLS in said or any(words in said for words in _LACKS_TLS):
            return _KNOWS_TLS in said
        raise ServerFailed(f"{self.program} does not tell whether it was built with TLS. It said:\n{said}")
