"""The driver for valkey-py."""

from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import StreamStore, Timeouts
from papyra_streams_adapters._resp.store import RespStore

from ._client import ValkeyClient


def driver(endpoint: Endpoint, timeouts: Timeouts) -> StreamStore:
    """Return streams on the server at ``endpoint``, through valkey-py."""
    return RespStore(ValkeyClient(endpoint, timeouts))
