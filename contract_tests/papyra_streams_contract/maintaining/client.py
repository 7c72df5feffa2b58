"""What a client process does: it runs one operation.

It says ``ready`` once it is connected, begins when it is sent a line, says ``begun``, and ``done`` or, if it has given
the server up, ``away``; and ``closed`` when its backend is. With each come the nanoseconds of the clock that all
processes of a machine share.
"""

import logging
import socket
import time

import anyio
import anyio.to_thread

from papyra_streams import RedisStreamsPersistence
from papyra_streams.errors import Indeterminate, Unavailable

from .orders import Orders


def run(orders: Orders, control: socket.socket) -> None:
    """Carry out the orders, and live until the other end is closed."""
    logging.basicConfig(level=logging.WARNING)
    anyio.run(_carry_out, orders, control)
    control.recv(1)


async def _carry_out(orders: Orders, control: socket.socket) -> None:
    backend = orders.backend()
    try:
        await backend.list_events(limit=1)
        _say(control, "ready")
        await anyio.to_thread.run_sync(control.recv, 1)
        _say(control, "begun")
        _say(control, "done" if await _has_done(orders, backend) else "away")
    finally:
        await backend.aclose()
    _say(control, "closed")


async def _has_done(orders: Orders, backend: RedisStreamsPersistence) -> bool:
    try:
        await orders.carry_out(backend)
    except (Unavailable, Indeterminate):
        return False
    return True


def _say(control: socket.socket, word: str) -> None:
    control.sendall(f"{word} {time.monotonic_ns()}\n".encode())
