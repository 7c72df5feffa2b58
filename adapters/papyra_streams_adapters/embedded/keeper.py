"""Keeps a server running until its last user is gone. A program of its own, on the standard library alone.

It is started in the server's directory, as ``keeper.py KEEPER_LOCK temporary|kept SOCKET PROGRAM [OPTION]...``;
KEEPER_LOCK is the descriptor of a lock that it holds by inheritance, as the sign that it lives.
"""

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

_SERVER_STOPS_WITHIN = 5.0
_PR_SET_PDEATHSIG = 1


def main(keeper_lock: str, lifetime: str, socket: str, *command: str) -> None:
    """Run the server, and clean up after it."""
    # The user's process must not find a child that it never started, and has to wait for.
    if os.fork():
        os._exit(0)
    _forget_parent()
    os.set_inheritable(int(keeper_lock), False)
    users = _open_lock("users.lock")
    server_lock = _open_lock("server.lock")
    _take_over(server_lock)
    server = _start(command, server_lock)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(server, signal.SIGTERM))
    ended = Event()
    Thread(target=_stop_when_unused, args=(users, server, ended), daemon=True).start()
    os.waitpid(server, 0)
    ended.set()
    _clean_up(users, socket, temporary=lifetime == "temporary")


def _forget_parent() -> None:
    os.umask(0o077)
    # What a program ignores or blocks is inherited, and would make it wait for a server that it cannot stop or reap.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _open_lock(name: str) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _take_over(server_lock: int) -> None:
    # The server of a keeper that was killed may still be stopping; two servers would ruin each other's data.
    deadline = time.monotonic() + _SERVER_STOPS_WITHIN
    while True:
        try:
            return fcntl.flock(server_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit("Another server still runs in this directory, without its keeper. Stop it first.")
            time.sleep(0.005)


def _start(command: tuple[str, ...], server_lock: int) -> int:
    keeper = os.getpid()
    die_with_parent = _die_with_parent()
    server = os.fork()
    if server:
        return server
    try:
        die_with_parent()
        if os.getppid() == keeper:
            # The server itself holds its lock, so that it lasts exactly as long as the server does.
            os.set_inheritable(server_lock, True)
            os.execv(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}.\n")
        sys.stderr.flush()
    finally:
        os._exit(1)


def _die_with_parent() -> Callable[[], object]:
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes

            prctl = ctypes.CDLL(None).prctl
            return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return lambda: None


def _stop_when_unused(users: int, server: int, ended: Event) -> None:
    # From here on nobody can join, until this process has ended.
    fcntl.flock(users, fcntl.LOCK_EX)
    os.kill(server, signal.SIGTERM)
    if not ended.wait(_SERVER_STOPS_WITHIN):
        os.kill(server, signal.SIGKILL)


def _clean_up(users: int, socket: str, *, temporary: bool) -> None:
    with suppress(OSError):
        os.unlink(socket)
    # Users that are left expect a server that is started anew in the same place.
    if not _is_unused(users):
        return
    # This does nothing in the data directory itself, which is not empty.
    with suppress(OSError):
        os.rmdir(os.path.dirname(socket))
    if temporary:
        from shutil import rmtree

        rmtree(os.getcwd(), ignore_errors=True)


def _is_unused(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
    # Without waiting for the thread, which may still wait for users.
    os._exit(0)
