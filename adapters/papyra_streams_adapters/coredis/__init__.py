"""The driver ``coredis``: Redis or Valkey through the client library coredis, on asyncio and on trio."""

from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import StreamStore, Timeouts

from .._resp.store import RespStore
from ._client import CoredisClient


def driver(endpoint: Endpoint, timeouts: Timeouts) -> StreamStore:
    """Make a store on this server; nothing is opened yet."""
    return RespStore(CoredisClient(endpoint, timeouts))
