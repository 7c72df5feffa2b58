"""Room on the disk that is kept from records, for removing them: SQLite writes before it gives room back."""

import os
from contextlib import suppress
from pathlib import Path

_CHUNK = 1024 * 1024


class Reserve:
    """A file that only takes room. A spool that has filled its disk gives it up, and then can shrink."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, size: int) -> None:
        """Take at least so many bytes.

        :raises OSError: if the disk has not so many
        """
        with suppress(FileNotFoundError):
            if self._path.stat().st_size >= size:
                return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _fill(descriptor, size)
        finally:
            os.close(descriptor)

    def give_up(self) -> None:
        """Take nothing any more."""
        with suppress(FileNotFoundError):
            self._path.unlink()


def _fill(descriptor: int, size: int) -> None:
    have = os.fstat(descriptor).st_size
    while have < size:
        # Zeros would take no room where the file system compresses.
        have += os.pwrite(descriptor, os.urandom(min(_CHUNK, size - have)), have)
