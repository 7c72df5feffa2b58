"""The spool as its port describes it: each call does its work in a thread, one at a time."""

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from papyra_streams.errors import SpoolFailed
from papyra_streams.ports.spool import SpooledPage, SpoolPort

from .._locks import EXCLUSIVE, FileLock
from . import _records
from ._errors import closed, primary, translated
from ._file import SpoolFile, make_directory
from ._reserve import Reserve

ResultT = TypeVar("ResultT")


class SqliteSpool(SpoolPort):
    """A spool in one SQLite file, and the right to empty it in a lock file beside that one."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._file = SpoolFile(path, max_bytes)
        self._reserve = Reserve(path.with_name(f"{path.name}.reserve"))
        self._lead = Lead(path.with_name(f"{path.name}.lock"))
        # What could not be removed yet, by stream.
        self._owed: dict[str, int] = {}
        self._closed = False
        self._one_call = anyio.CapacityLimiter(1)
        # A call that asyncio itself cancels gives up its place, and leaves its thread at work.
        self._one_thread = threading.Lock()

    async def put(self, stream: str, producer: str, first: int, payloads: Sequence[bytes]) -> None:
        if payloads:
            await self._call(partial(self._put, stream, producer, first, payloads))

    async def newest(self, stream: str) -> int:
        return await self._ask(stream, lambda asked, after: _records.newest(asked, stream, after), nothing=0)

    async def streams(self) -> Sequence[str]:
        return await self._call(self._streams)

    async def holds(self, stream: str, producer: str, *, up_to: int) -> bool:
        return await self._ask(
            stream, lambda asked, after: _records.holds(asked, stream, producer, up_to, after), nothing=False
        )

    async def oldest(self, stream: str, *, records: int, size: int) -> SpooledPage | None:
        return await self._ask(
            stream, lambda asked, after: _records.oldest(asked, stream, records, size, after), nothing=None
        )

    async def remove(self, stream: str, *, up_to: int) -> None:
        await self._call(partial(self._remove, stream, up_to))

    async def count(self, stream: str) -> int:
        return await self._ask(stream, lambda asked, after: _records.count(asked, stream, after), nothing=0)

    async def lead(self) -> bool:
        return await self._call(self._lead.take)

    async def resign(self) -> None:
        await self._call(self._lead.leave)

    async def aclose(self) -> None:
        self._closed = True
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._close, limiter=self._one_call)

    async def _ask(
        self, stream: str, question: Callable[[sqlite3.Connection, int], ResultT], *, nothing: ResultT
    ) -> ResultT:
        def answer() -> ResultT:
            self._settle()
            connection = self._file.existing()
            return nothing if connection is None else question(connection, self._owed.get(stream, 0))

        return await self._call(answer)

    async def _call(self, work: Callable[[], ResultT]) -> ResultT:
        if self._closed:
            raise closed(self._path)
        return await anyio.to_thread.run_sync(self._work, work, limiter=self._one_call)

    def _work(self, work: Callable[[], ResultT]) -> ResultT:
        with self._one_thread:
            if self._closed:
                raise closed(self._path)
            return self._attempt(work)

    def _attempt(self, work: Callable[[], ResultT]) -> ResultT:
        with translated(self._path):
            try:
                with self._file.left_if_broken():
                    return work()
            except sqlite3.OperationalError as error:
                if primary(error) != sqlite3.SQLITE_READONLY:
                    raise
            # What may not be written SQLite opens for reading alone; by now it may be.
            with self._file.left_if_broken():
                return work()

    def _streams(self) -> Sequence[str]:
        self._settle()
        connection = self._file.existing()
        return [] if connection is None else _records.streams(connection)

    def _put(self, stream: str, producer: str, first: int, payloads: Sequence[bytes]) -> None:
        self._settle()
        connection = self._file.made()
        # The log grows by these records before it is moved into the file.
        self._reserve.keep(self._file.reserve + 2 * sum(map(len, payloads)))
        _records.put(connection, stream, producer, first, payloads)

    def _remove(self, stream: str, up_to: int) -> None:
        self._owed[stream] = max(up_to, self._owed.get(stream, 0))
        self._pay(stream)
        self._settle()

    def _settle(self) -> None:
        """Remove what an earlier call could not; if it still cannot be, that call has said so."""
        try:
            for stream in list(self._owed):
                self._attempt(partial(self._pay, stream))
        except SpoolFailed:
            return

    def _pay(self, stream: str) -> None:
        connection = self._file.existing()
        if connection is not None:
            self._remove_from(connection, stream, self._owed[stream])
        del self._owed[stream]

    def _remove_from(self, connection: sqlite3.Connection, stream: str, up_to: int) -> None:
        try:
            _records.remove(connection, stream, up_to)
        except sqlite3.OperationalError as error:
            if primary(error) != sqlite3.SQLITE_FULL:
                raise
            self._reserve.give_up()
            _records.shorten_log(connection)
            _records.remove(connection, stream, up_to)
        if _records.is_empty(connection):
            _records.shorten_log(connection)
            self._reserve.give_up()

    def _close(self) -> None:
        with self._one_thread:
            self._file.close()
            self._lead.leave()


class Lead:
    """The right to empty the spool, as a lock on a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileLock | None = None

    def take(self) -> bool:
        """Take the lock if it is free, and tell whether it is held; without waiting."""
        if self._lock is not None and _is_at(self._lock, self._path):
            return True
        self.leave()
        make_directory(self._path.parent)
        self._lock = FileLock.try_take(str(self._path), EXCLUSIVE)
        return self._lock is not None

    def leave(self) -> None:
        """Let go of the lock, if it is held."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()


def _is_at(lock: FileLock, path: Path) -> bool:
    """Tell whether the locked file is the one that others find: a lock on a file that was removed keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False
