"""What SQLite and the file system say, in the words of the port."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from papyra_streams.errors import Closed, SpoolCorrupt, SpoolFailed

# The last three say that the file is not as it was made: a table is missing, or its rules are broken.
_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise the port's errors for those of SQLite and of the file system."""
    try:
        yield
    except sqlite3.Error as error:
        if primary(error) in _DAMAGED:
            raise SpoolCorrupt(f"The spool {path} is damaged, or is none: {error}.") from error
        raise SpoolFailed(f"The spool {path} cannot be used for now: {error}.") from error
    except OSError as error:
        raise SpoolFailed(f"The spool {path} cannot be used for now: {error.strerror or error}.") from error


def primary(error: sqlite3.Error) -> int:
    """Return SQLite's result code, without the details in its upper bits; where Python spoke for it, that of misuse."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF


def closed(path: Path) -> Closed:
    """Make the error for a call that came too late."""
    return Closed(f"The spool {path} is closed.")
