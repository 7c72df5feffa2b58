"""The driver for redis-py."""

from redis.asyncio import Redis, RedisCluster

from papyra_streams.endpoint import Server
from papyra_streams.ports import StreamStore, Timeouts
from papyra_streams_adapters._redispy import adopting
from papyra_streams_adapters._resp.store import RespStore
from papyra_streams_adapters._resp.topologies import client_of

from ._client import RedisClient


def driver(server: Server, timeouts: Timeouts) -> StreamStore:
    """Return streams on this server, cluster or service, through redis-py."""
    return RespStore(client_of(server, timeouts, lambda endpoint: RedisClient(endpoint, timeouts)))


def server_of(client: object) -> Server:
    """Return where a client of redis-py leads, which the user has built.

    :raises InvalidValue: if it is none, or not an asynchronous one
    """
    return adopting.server_of(client, single=Redis, cluster=RedisCluster)
