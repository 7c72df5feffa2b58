"""Another client: ``python -m benchmarks.maintaining.pinger HOST PORT`` sends a PING each millisecond.

It prints a line when it begins; when its input ends, it prints for each PING when it was due, and how much later the
reply was there.
"""

import json
import select
import socket
import sys
import time
from collections import deque

_INTERVAL = 0.001
_PING, _REPLY = b"PING\r\n", b"+PONG\r\n"
_AT_ONCE = 64 * len(_REPLY)


class Pinger:
    """One connection, which does not wait for a reply before it sends the next PING.

    If it did, few would be sent while the server is slow. Each is timed from when it was due.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._next = time.monotonic()
        self._waiting: deque[float] = deque()
        self._part = 0
        self.found: list[tuple[float, float]] = []

    def run(self) -> None:
        """Send PINGs until the input ends, and take all replies."""
        goes_on = True
        while goes_on or self._waiting:
            patience = max(0.0, self._next - time.monotonic()) if goes_on else None
            readable, _, _ = select.select([self._connection, *[sys.stdin] * goes_on], [], [], patience)
            if self._connection in readable:
                self._take(self._connection.recv(_AT_ONCE))
            goes_on = goes_on and sys.stdin not in readable
            while goes_on and self._next <= time.monotonic():
                self._send()

    def _send(self) -> None:
        self._connection.sendall(_PING)
        self._waiting.append(self._next)
        self._next += _INTERVAL

    def _take(self, replies: bytes) -> None:
        now = time.monotonic()
        whole, self._part = divmod(self._part + len(replies), len(_REPLY))
        for _ in range(whole):
            due = self._waiting.popleft()
            self.found.append((due, now - due))


def ping(host: str, port: int) -> list[tuple[float, float]]:
    """Send PINGs over a connection of its own."""
    with socket.create_connection((host, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(flush=True)  # noqa: T201 -- to the process that has started this one
        pinger = Pinger(connection)
        pinger.run()
    return pinger.found


if __name__ == "__main__":
    print(json.dumps(ping(sys.argv[1], int(sys.argv[2]))))  # noqa: T201 -- as above
