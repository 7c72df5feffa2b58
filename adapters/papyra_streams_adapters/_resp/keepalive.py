"""How soon TCP itself notices that the other end of an idle connection is gone."""

import socket

# redis-py's own defaults; the other clients leave the system's two hours. Not every system has all three.
_SECONDS_AND_COUNT = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}

KEEPALIVE = {getattr(socket, name): value for name, value in _SECONDS_AND_COUNT.items() if hasattr(socket, name)}
"""TCP's options, for a socket with ``SO_KEEPALIVE``."""
