"""Drivers and servers for papyra-streams; each is found by its entry point, none is imported by the core.

What stands here is what a driver of your own needs: implement `RespClient` for one server, translate its errors with
the four functions, and return ``RespStore(client_of(server, timeouts, connect))`` from your entry point, where
``connect`` makes the client of one server; clusters and Sentinels follow by themselves.
"""

from ._resp.client import Argument, Command, Reply, RespClient
from ._resp.errors import closed, lost, server_error, unreachable
from ._resp.store import RespStore
from ._resp.topologies import client_of

__all__ = [
    "Argument",
    "Command",
    "Reply",
    "RespClient",
    "RespStore",
    "client_of",
    "closed",
    "lost",
    "server_error",
    "unreachable",
]
