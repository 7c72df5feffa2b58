"""Drivers and servers for papyra-streams; each is found by its entry point, none is imported by the core.

What stands here is what a driver of your own needs: implement `RespClient`, translate its errors with the four
functions, and return ``RespStore(client)`` from your entry point.
"""

from ._resp.client import Argument, Command, Reply, RespClient
from ._resp.errors import closed, lost, server_error, unreachable
from ._resp.store import RespStore

__all__ = ["Argument", "Command", "Reply", "RespClient", "RespStore", "closed", "lost", "server_error", "unreachable"]
