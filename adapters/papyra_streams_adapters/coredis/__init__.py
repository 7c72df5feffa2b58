"""The driver ``coredis``: Redis or Valkey through the client library coredis, on asyncio and on trio."""

from papyra_streams.endpoint import Server
from papyra_streams.ports import StreamStore, Timeouts

from .._resp.store import RespStore
from .._resp.topologies import client_of
from ._adopting import server_of
from ._client import CoredisClient

__all__ = ["driver", "server_of"]


def driver(server: Server, timeouts: Timeouts) -> StreamStore:
    """Make a store on this server, cluster or service; nothing is opened yet."""
    return RespStore(client_of(server, timeouts, lambda endpoint: CoredisClient(endpoint, timeouts)))
