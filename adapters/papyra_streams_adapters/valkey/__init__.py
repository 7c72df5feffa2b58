"""The driver for valkey-py."""

from papyra_streams.endpoint import Server
from papyra_streams.ports import StreamStore, Timeouts
from papyra_streams_adapters._resp.store import RespStore
from papyra_streams_adapters._resp.topologies import client_of

from ._client import ValkeyClient


def driver(server: Server, timeouts: Timeouts) -> StreamStore:
    """Return streams on this server, cluster or service, through valkey-py."""
    return RespStore(client_of(server, timeouts, lambda endpoint: ValkeyClient(endpoint, timeouts)))
