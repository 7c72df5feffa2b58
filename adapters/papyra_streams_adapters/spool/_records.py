"""What is asked of the database, and what is done to it, in SQL.

``after`` is the position up to which the records of a stream count as removed already.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

from papyra_streams.ports.spool import SpooledBatch, SpooledPage

from ._file import transaction, value

_Row = tuple[Any, ...]

# So many records a transaction removes, so that other processes need not wait long for the file.
_STEP = 4096

_NEWEST = """
SELECT position FROM records WHERE stream = (SELECT id FROM streams WHERE name = ?) AND position > ?
ORDER BY position DESC LIMIT 1
"""
_HOLDS = """
SELECT EXISTS (SELECT 1 FROM records WHERE stream = s.id AND position > :after AND position <= :up_to)
OR EXISTS (
    SELECT 1 FROM records
    WHERE stream = s.id AND producer = (SELECT id FROM producers WHERE name = :producer) AND position > :after
)
FROM streams s WHERE s.name = :stream
"""
_OLDEST = """
SELECT r.position, p.name, r.number, r.payload
FROM records r JOIN producers p ON p.id = r.producer
WHERE r.stream = (SELECT id FROM streams WHERE name = ?) AND r.position > ?
ORDER BY r.position LIMIT ?
"""
_COUNT = """
SELECT s.records - (SELECT count(*) FROM records WHERE stream = s.id AND position <= ?) FROM streams s WHERE s.name = ?
"""
_PUT = "INSERT INTO records (stream, producer, number, payload) VALUES (?, ?, ?, ?)"
_REMOVE = """
DELETE FROM records WHERE position IN (
    SELECT position FROM records WHERE stream = ? AND position <= ? ORDER BY position LIMIT ?
)
"""


def put(connection: sqlite3.Connection, stream: str, producer: str, first: int, payloads: Sequence[bytes]) -> None:
    """Add records in one transaction."""
    with transaction(connection):
        connection.execute("INSERT OR IGNORE INTO streams (name, records) VALUES (?, 0)", (stream,))
        connection.execute("INSERT OR IGNORE INTO producers (name) VALUES (?)", (producer,))
        connection.execute("UPDATE streams SET records = records + ? WHERE name = ?", (len(payloads), stream))
        lane = (
            value(connection, "SELECT id FROM streams WHERE name = ?", stream),
            value(connection, "SELECT id FROM producers WHERE name = ?", producer),
        )
        connection.executemany(_PUT, ((*lane, number, payload) for number, payload in enumerate(payloads, first)))


def newest(connection: sqlite3.Connection, stream: str, after: int) -> int:
    """Return the position of the newest record, or 0."""
    return value(connection, _NEWEST, stream, after)


def streams(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the streams that have records."""
    with closing(connection.execute("SELECT name FROM streams WHERE records > 0 ORDER BY name")) as rows:
        return [name for (name,) in rows]


def holds(connection: sqlite3.Connection, stream: str, producer: str, up_to: int, after: int) -> bool:
    """Tell whether a record of this producer, or of anybody up to this position, is there."""
    names = {"stream": stream, "producer": producer, "up_to": up_to, "after": after}
    with closing(connection.execute(_HOLDS, names)) as rows:
        row = rows.fetchone()
    return row is not None and bool(row[0])


def oldest(connection: sqlite3.Connection, stream: str, records: int, size: int, after: int) -> SpooledPage | None:
    """Return the oldest records."""
    # Closed, so that no unfinished reading keeps the log from being emptied.
    with closing(connection.execute(_OLDEST, (stream, after, records))) as rows:
        chosen = list(_fitting(rows, size))
    return SpooledPage(batches=_batches(chosen), last_position=chosen[-1][0]) if chosen else None


def _fitting(rows: Iterable[_Row], size: int) -> Iterator[_Row]:
    for number, row in enumerate(rows):
        size -= len(row[3])
        if number and size < 0:
            return
        yield row


def _batches(rows: Iterable[_Row]) -> list[SpooledBatch]:
    batches: list[SpooledBatch] = []
    growing: dict[str, tuple[int, list[bytes]]] = {}
    for _, producer, number, payload in rows:
        first, payloads = growing.get(producer, (0, []))
        if not payloads or number != first + len(payloads):
            first, payloads = growing[producer] = (number, [])
            batches.append(SpooledBatch(producer=producer, first=first, payloads=payloads))
        payloads.append(payload)
    return batches


def remove(connection: sqlite3.Connection, stream: str, up_to: int) -> None:
    """Remove records in steps."""
    while _removed(connection, stream, up_to) == _STEP:
        pass


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether no stream has records."""
    return not value(connection, "SELECT EXISTS (SELECT 1 FROM records)")


def shorten_log(connection: sqlite3.Connection) -> None:
    """Move the log into the file, and empty it, if nobody is reading; the file shrinks with what was removed."""
    # Nothing is lost if this fails, and the next put does it as well.
    with suppress(sqlite3.OperationalError):
        value(connection, "PRAGMA wal_checkpoint(TRUNCATE)")


def _removed(connection: sqlite3.Connection, stream: str, up_to: int) -> int:
    with transaction(connection):
        where = value(connection, "SELECT id FROM streams WHERE name = ?", stream)
        gone = connection.execute(_REMOVE, (where, up_to, _STEP)).rowcount
        connection.execute("UPDATE streams SET records = records - ? WHERE id = ?", (gone, where))
        # The names of producers, one for each backend that ever ran, shall not pile up.
        connection.execute("DELETE FROM producers WHERE NOT EXISTS (SELECT 1 FROM records)")
    return gone


def count(connection: sqlite3.Connection, stream: str, after: int) -> int:
    """Return how many records there are."""
    return value(connection, _COUNT, after, stream)
