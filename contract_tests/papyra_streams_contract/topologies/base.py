"""What all topologies have in common."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from ..servers import NO_SETTINGS, PrivateServer, Server, ServerSource
from ..sources import ProgramSource


class TopologySource(ServerSource):
    """A server program, made into something larger than a single server that lets everybody in."""

    def __init__(self, source: ProgramSource) -> None:
        self.name = f"{source.name}-{self.topology}"
        self.single = source
        self._shared: PrivateServer | None = None

    @property
    def program(self) -> Path:
        """Where the program is."""
        return self.single.program

    def shared(self) -> Server:
        if self._shared is None:
            self._shared = _started(self._make_shared())
        return self._shared

    def private(
        self,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        replica_of: PrivateServer | None = None,
    ) -> PrivateServer:
        return _started(self._make(settings, keeps_data=keeps_data, replica_of=replica_of))

    def stop(self) -> None:
        if self._shared is not None:
            self._shared.stop()
        self.single.stop()

    def _make_shared(self) -> PrivateServer:
        return self._make(NO_SETTINGS, keeps_data=False, replica_of=None)

    @abstractmethod
    def _make(
        self, settings: Mapping[str, str], *, keeps_data: bool, replica_of: PrivateServer | None
    ) -> PrivateServer:
        """Make a private server that is yet to be started."""


def _started(server: PrivateServer) -> PrivateServer:
    try:
        server.start()
    except BaseException:
        # Some part of it may run.
        server.stop()
        raise
    return server
