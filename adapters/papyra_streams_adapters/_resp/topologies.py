"""Which client leads to which servers. A driver only has to know how to reach one."""

from papyra_streams.endpoint import ClusterNodes, SentinelService, Server
from papyra_streams.ports import Timeouts

from .client import RespClient
from .cluster import ClusterClient
from .nodes import Connect
from .sentinels import SentinelClient


def client_of(server: Server, timeouts: Timeouts, connect: Connect) -> RespClient:
    """Make the client of a server, a cluster or a service, through the clients of single servers.

    :param connect: makes one of these
    """
    match server:
        case ClusterNodes():
            return ClusterClient(server, timeouts, connect)
        case SentinelService():
            return SentinelClient(server, timeouts, connect)
    return connect(server)
