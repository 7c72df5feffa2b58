"""File locks that the kernel takes back when their holder dies."""

import fcntl
import io
import os
from typing import Self
from weakref import WeakSet

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX

_held: WeakSet["FileLock"] = WeakSet()


class FileLock:
    """A lock on a file, held until it is closed, lost, or its process ends."""

    def __init__(self, descriptor: int) -> None:
        self._file = io.FileIO(descriptor, "r+")
        _held.add(self)

    @classmethod
    def try_take(cls, path: str, mode: int) -> Self | None:
        """Take the lock, or return None if another holder is in the way.

        :raises OSError: if the file cannot be opened, or its file system has no locks
        """
        lock = cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        try:
            fcntl.flock(lock.fileno(), mode | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        except OSError:
            lock.close()
            raise
        return lock

    def fileno(self) -> int:
        """Return the descriptor; a process that inherits it holds the lock as well."""
        return self._file.fileno()

    def close(self) -> None:
        """Let go, once or more often; a lock that another process inherited stays with that process."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Before the file's own finalizer, which would warn of a file that was never closed.
        self.close()


def _close_all() -> None:
    for lock in list(_held):
        lock.close()


# A forked child would hold its parent's locks for as long as it lives.
os.register_at_fork(after_in_child=_close_all)
