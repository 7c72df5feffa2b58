"""Servers that are started on demand, for ``embedded://`` URLs."""

from abc import ABC, abstractmethod

from papyra_streams.endpoint import EmbeddedDirectory, Endpoint


class ServerLease(ABC):
    """Keeps a server running for as long as it is held."""

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Where the server listens."""

    @abstractmethod
    def release(self) -> None:
        """Let go of the server, which stops with its last lease; one that is lost, or whose process dies, goes too."""


class EmbeddedServers(ABC):
    """Starts private servers, and finds those that other processes started."""

    @abstractmethod
    def acquire(self, directory: EmbeddedDirectory) -> ServerLease:
        """Join the server that keeps its data in this directory, or start it; return once it answers.

        Blocks the calling thread.

        :raises ConfigurationError: if no server program is installed, or the directory cannot be used
        :raises Unavailable: if the server does not start
        """
