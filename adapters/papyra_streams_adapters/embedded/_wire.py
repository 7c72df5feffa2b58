"""The few words that are spoken with a server before any client library is."""

import socket


def ask(path: str, command: str, *, seconds: float = 0.5) -> bytes:
    """Send one command to the server on a Unix socket and return the first bytes of its reply; none if it is silent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(path)
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(256)
        except OSError:
            return b""


def is_loading(reply: bytes) -> bool:
    """Tell whether the server answers, but still reads its data."""
    return reply.startswith(b"-LOADING")
