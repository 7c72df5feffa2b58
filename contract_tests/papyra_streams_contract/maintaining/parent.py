"""The parent of the clients: ``python -m papyra_streams_contract.maintaining.parent``.

It has imported all that a client needs, and forks one for each message: some hundred processes that each begin with the
imports would take longer than everything else. With the orders comes the socket over which the client is spoken to; the
answer is its process id. Its own socket is its standard input; when that is closed, it ends.
"""

import gc
import json
import os
import signal
import socket
import sys
import traceback

import anyio

from .client import run
from .orders import Orders

LONGEST_MESSAGE = 65536


def main() -> None:
    """Serve until there is nobody left to ask."""
    # Its first call imports what an event loop needs.
    anyio.run(anyio.sleep, 0)
    gc.freeze()
    # Nobody asks how the clients end: each tells of it, or leaves its socket without.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as requests:
        while message := _receive(requests):
            orders, control = message
            # It imports the driver's client here, once for all.
            orders.backend()
            process_id = os.fork()
            if not process_id:
                _be_client(orders, control)
            control.close()
            requests.sendall(f"{process_id}\n".encode())


def _receive(requests: socket.socket) -> tuple[Orders, socket.socket] | None:
    message, descriptors, _, _ = socket.recv_fds(requests, LONGEST_MESSAGE, 1)
    if not message:
        return None
    (descriptor,) = descriptors
    return Orders(**json.loads(message)), socket.socket(fileno=descriptor)


def _be_client(orders: Orders, control: socket.socket) -> None:
    # Nothing may come back from here: the parent's loop would run twice.
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        run(orders, control)
    except BaseException:  # noqa: BLE001 -- the log is the only place left for it
        traceback.print_exc()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
