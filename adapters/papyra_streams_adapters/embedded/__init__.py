"""A private Valkey server behind ``embedded://`` URLs: shared by all who name its directory, stopped with the last."""

from papyra_streams.errors import ConfigurationError
from papyra_streams.ports.servers import EmbeddedServers


def server() -> EmbeddedServers:
    """Give access to the embedded servers of this machine.

    :raises ConfigurationError: on a platform that lacks Unix sockets and file locks, such as Windows
    """
    try:
        from .servers import ValkeyServers
    except ImportError as error:
        raise ConfigurationError(
            "embedded:// works on Linux and macOS only; name a running server, such as redis://localhost:6379/0."
        ) from error
    return ValkeyServers()
