"""The driver for valkey-py."""

from valkey.asyncio import Valkey, ValkeyCluster

from papyra_streams.endpoint import Server
from papyra_streams.ports import StreamStore, Timeouts
from papyra_streams_adapters._redispy import adopting
from papyra_streams_adapters._resp.store import RespStore
from papyra_streams_adapters._resp.topologies import client_of

from ._client import ValkeyClient


def driver(server: Server, timeouts: Timeouts) -> StreamStore:
    """Return streams on this server, cluster or service, through valkey-py."""
    return RespStore(client_of(server, timeouts, lambda endpoint: ValkeyClient(endpoint, timeouts)))


def server_of(client: object) -> Server:
    """Return where a client of valkey-py leads, which the user has built.

    :raises InvalidValue: if it is none, or not an asynchronous one
    """
    return adopting.server_of(client, single=Valkey, cluster=ValkeyCluster)
