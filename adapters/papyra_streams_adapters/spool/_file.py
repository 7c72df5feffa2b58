"""The file of a spool: how it is made, recognised, opened and left."""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from errno import ENOENT
from pathlib import Path
from typing import TypeVar

from papyra_streams.errors import SpoolCorrupt

from ._errors import primary

ResultT = TypeVar("ResultT")

# "Papy" in ASCII; tells our files from those of others.
_APPLICATION = 0x50617079
_VERSION = 1
_PAGE = 4096
# How long another process may hold the file: it does so for milliseconds, unless it is stopped.
PATIENCE = 3.0
_PAUSE = 0.005
_PASSING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY}
_LARGEST_LOG = 4 * 1024 * 1024
_SHARE_OF_LOG = 8
_SMALLEST = 16

_SCHEMA = """
CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, records INTEGER NOT NULL);
CREATE TABLE producers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE records (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    producer INTEGER NOT NULL,
    number INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX in_order ON records (stream, position);
CREATE INDEX of_producer ON records (stream, producer);
"""

# A file that is closed takes along the locks of all others that this process has on it, so that none may be opened
# by SQLite while one is made.
_making = threading.Lock()


class SpoolFile:
    """One connection to the file, opened when it is needed, for one thread at a time.

    ``reserve`` -- how many bytes of free disk it takes to remove records, whatever the log holds
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._log_pages = max(min(_LARGEST_LOG, max_bytes // _SHARE_OF_LOG) // _PAGE, _SMALLEST)
        # To move the log into the file may need as much again, and to remove records a little more.
        self.reserve = self._log_pages * _PAGE * 5 // 4
        self._pages = max((max_bytes - self.reserve) // _PAGE - self._log_pages, _SMALLEST)
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)

    def existing(self) -> sqlite3.Connection | None:
        """Return the connection, or None if there is no file."""
        identity = _identity(self._path)
        # Who moves a damaged spool away expects a new one, also from a process that has it open.
        if identity != self._identity:
            self.close()
        if identity is None:
            return None
        if self._connection is None:
            with _making:
                self._connection = self._opened()
            self._identity = identity
        return self._connection

    def made(self) -> sqlite3.Connection:
        """Return the connection, and make the file if there is none."""
        connection = self.existing()
        if connection is None:
            make_directory(self._path.parent)
            with _making, _alone_in(self._path.parent), suppress(FileExistsError):
                _make_empty(self._path)
            connection = self.existing()
        if connection is None:
            raise FileNotFoundError(ENOENT, "it is a link to nowhere, or somebody removes it")
        return connection

    def close(self) -> None:
        """Close the connection, once or more often."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def left_if_broken(self) -> Iterator[None]:
        """Close the connection on errors that might stay with it: SQLite remembers what it could not write or read."""
        try:
            yield
        except sqlite3.Error as error:
            if primary(error) not in _PASSING:
                self.close()
            raise

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if _patiently(lambda: _is_blank(connection)):
            _patiently(lambda: _set_up(connection))
        _recognise(connection, self._path)
        _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").close())
        connection.execute("PRAGMA synchronous = FULL")
        # It would overwrite what is removed, which nobody but the owner could read anyway.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"PRAGMA max_page_count = {self._pages}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {self._log_pages}")
        connection.execute(f"PRAGMA journal_size_limit = {self._log_pages * _PAGE}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing; synced to disk when it is left."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        # Some errors end the transaction by themselves.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def make_directory(path: Path) -> None:
    """Make a directory, for its owner alone, and see that it outlives a power cut."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in missing:
        _sync(directory.parent)


def _make_empty(path: Path) -> None:
    if not os.path.lexists(path):
        _set_aside_log(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    _sync(path.parent)


def _set_aside_log(path: Path) -> None:
    """Move what a former file of this name left behind: SQLite would take it for the log of the new one.

    A process that still has the former file open goes on to use these, wherever they are.
    """
    log = path.with_name(f"{path.name}-wal")
    with suppress(FileNotFoundError):
        # It may hold records of a file that was moved away without it.
        log.replace(log.with_name(f"{log.name}.old"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other processes from making a file in a directory."""
    with _opened_directory(directory) as descriptor:
        _patiently(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))
        yield


def _sync(directory: Path) -> None:
    # Some file systems do not sync directories.
    with _opened_directory(directory) as descriptor, suppress(OSError):
        os.fsync(descriptor)


@contextmanager
def _opened_directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size = {_PAGE}")
    # Each removal gives its pages back to the disk, so that none takes long.
    connection.execute("PRAGMA auto_vacuum = FULL")
    with transaction(connection):
        if not _is_blank(connection):
            return
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        # Positions are those of no former file, so that nothing is taken for what was in that one.
        connection.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", (time.time_ns() // 1000,))
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _is_blank(connection: sqlite3.Connection) -> bool:
    """Tell whether there is nothing in a database: it may have a page already, by whoever is making a spool of it."""
    named = value(connection, "PRAGMA application_id")
    return not named and not value(connection, "SELECT count(*) FROM sqlite_master")


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    if value(connection, "PRAGMA application_id") != _APPLICATION:
        raise SpoolCorrupt(f"{path} is a database, but no spool.")
    version = value(connection, "PRAGMA user_version")
    if version != _VERSION:
        raise SpoolCorrupt(f"The spool {path} has version {version}; this one knows version {_VERSION}.")


def _patiently(work: Callable[[], ResultT]) -> ResultT:
    """Try again where nothing waits by itself: while another process makes, or leaves, the file."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except (sqlite3.OperationalError, BlockingIOError) as error:
            busy = isinstance(error, BlockingIOError) or primary(error) == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)


def value(connection: sqlite3.Connection, query: str, *arguments: object) -> int:
    """Return the one number that a query gives, or 0 if it gives none."""
    # Closed, so that no unfinished reading keeps the log from being emptied.
    with closing(connection.execute(query, arguments)) as rows:
        row = rows.fetchone()
    return 0 if row is None else int(row[0])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
