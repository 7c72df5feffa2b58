"""The topologies that the suite runs on."""

from ..servers import ServerFailed, ServerSource
from ..sources import ProgramSource
from .acl import AclSource
from .base import TopologySource
from .clusters import ClusterSource
from .sentinels import SentinelSource
from .tls import TlsSource

_SOURCES: tuple[type[TopologySource], ...] = (TlsSource, AclSource, SentinelSource, ClusterSource)

TOPOLOGIES = (ServerSource.topology, *(source.topology for source in _SOURCES))
"""Their names; the first one is a single server that lets everybody in."""


def arranged(source: ServerSource, topology: str) -> ServerSource:
    """Return servers of one topology, of the kind that the source has.

    :raises ServerFailed: if it has no program to make them of
    """
    if topology == source.topology:
        return source
    if not isinstance(source, ProgramSource):
        raise ServerFailed(f"--topology {topology} needs a server program, which {source.name} is not; see --servers.")
    (kind,) = (each for each in _SOURCES if each.topology == topology)
    return kind(source)
