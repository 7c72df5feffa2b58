"""The directory a server lives in: its locks, its log, its socket, its data."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EDQUOT, EIO, EMFILE, ENFILE, ENOLCK, ENOMEM, ENOSPC, ENOSYS, ENOTSUP, EOPNOTSUPP
from typing import Self

from papyra_streams.errors import ConfigurationError, Unavailable

from .._locks import EXCLUSIVE, FileLock

_SOCKET = "valkey.sock"
_RETIRED_SOCKET = "valkey.old"
# macOS has room for 104 bytes with the final zero, Linux for 108.
_LONGEST_SOCKET_PATH = 103
_TEMPORARY_PREFIX = "papyra-streams-"
_PASSING = {EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC}
_WITHOUT_LOCKS = {ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHome:
    """Where one server keeps everything; a temporary one goes with it."""

    path: str
    temporary: bool

    @classmethod
    def create(cls, path: str | None) -> Self:
        """Make the directory, or find it; without a path make a temporary one.

        :raises ConfigurationError: if it cannot be used
        """
        if path is None:
            with refusals("a temporary directory"):
                return cls(path=tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX), temporary=True)
        if not os.path.isabs(path) or "\0" in path:
            raise ConfigurationError(
                f"The directory {path!r} of the embedded server must be an absolute path: embedded:///an/absolute/path."
            )
        with refusals(path):
            os.makedirs(path, mode=0o700, exist_ok=True)
        return cls(path=path, temporary=False)

    def file(self, name: str) -> str:
        """Return the path of a file in it."""
        return os.path.join(self.path, name)

    def try_lock(self, name: str, mode: int) -> FileLock | None:
        """Take one of its locks, or return None if another holder is in the way."""
        with refusals(self.path):
            return FileLock.try_take(self.file(name), mode)

    def socket(self) -> str | None:
        """Return the path of the server's socket, or None as long as there is no such socket.

        :raises ConfigurationError: if the server is another user's
        """
        path = self._socket_path()
        with suppress(FileNotFoundError):
            found = os.lstat(path)
            if found.st_uid != os.geteuid():
                raise ConfigurationError(
                    f"The embedded server in {self.path} belongs to another user (uid {found.st_uid});"
                    " run this program as that user, or name another directory."
                )
            return path if stat.S_ISSOCK(found.st_mode) else None
        return None

    @contextmanager
    def retired_socket(self) -> Iterator[str | None]:
        """Take a former server's socket out of the way, so that nobody joins that server while it stops."""
        path = self.socket()
        if path is None:
            yield None
            return
        retired = os.path.join(os.path.dirname(path), _RETIRED_SOCKET)
        os.rename(path, retired)
        try:
            yield retired
        finally:
            os.unlink(retired)

    def place_socket(self) -> str:
        """Choose where the server shall listen, in a short directory of its own if this one's path is too long."""
        path = self._socket_path()
        if _fits(path) and _is_private(os.path.dirname(path), self.path):
            return path
        with refusals(self.path):
            path = os.path.join(_short_directory(), _SOCKET)
            with suppress(FileNotFoundError):
                os.unlink(self.file(_SOCKET))
            os.symlink(path, self.file(_SOCKET))
        return path

    def open_log(self) -> int:
        """Begin a new log, and keep that of the run before."""
        path = self.file("server.log")
        with refusals(self.path):
            with suppress(FileNotFoundError):
                os.replace(path, f"{path}.old")
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)

    def remove_if_abandoned(self) -> None:
        """Remove a temporary directory whose keeper, which should do it, is gone."""
        if not self.temporary:
            return
        # Where the socket is gone the keeper is on its way out, and lets go of its lock when its last thread has ended.
        deadline = time.monotonic() + (0 if os.path.lexists(self.file(_SOCKET)) else 1.0)
        with suppress(OSError):
            while not (lock := FileLock.try_take(self.file("keeper.lock"), EXCLUSIVE)):
                if time.monotonic() >= deadline:
                    return
                time.sleep(0.005)
            lock.close()
            shutil.rmtree(self.path, ignore_errors=True)

    def _socket_path(self) -> str:
        path = self.file(_SOCKET)
        if _fits(path):
            return path
        with suppress(OSError):
            return os.readlink(path)
        return path


@contextmanager
def refusals(path: str) -> Iterator[None]:
    """Translate what the file system says of the directory at ``path``."""
    try:
        yield
    except OSError as error:
        reason = f"The embedded server cannot use {path}: {error.strerror}."
        if error.errno in _PASSING:
            raise Unavailable(f"{reason} Free some room, or raise the limit, and try again.") from error
        if error.errno in _WITHOUT_LOCKS:
            raise ConfigurationError(f"{reason} Name a directory on a local file system, which has locks.") from error
        raise ConfigurationError(f"{reason} Name a directory that this user may create and write in.") from error


def _fits(path: str) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH


def _is_private(directory: str, home: str) -> bool:
    if directory == home:
        return True
    with suppress(OSError):
        found = os.lstat(directory)
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return False


def _short_directory() -> str:
    bases = [tempfile.gettempdir(), os.path.join(os.sep, "tmp")]
    # mkdtemp appends eight characters to the prefix.
    name = os.path.join(f"{_TEMPORARY_PREFIX}{'x' * 8}", _SOCKET)
    fitting = [base for base in bases if _fits(os.path.join(base, name))]
    return tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=fitting[0])
