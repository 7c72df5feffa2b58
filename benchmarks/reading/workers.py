"""Worker processes, seen from the process that measures them."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.servers import RunningServer

_PROGRAM = "benchmarks.reading.worker"
_LONGEST_LINE = 100
_PATIENCE = 300.0


class WorkerFailed(Exception):
    """A worker ended, or did not do in time what was to be measured."""


class Worker:
    """A process that handles entries until it is killed."""

    def __init__(self, process: Process) -> None:
        assert process.stdout  # noqa: S101 -- it is a pipe, see below
        self._process = process
        self._counts = BufferedByteReceiveStream(process.stdout)

    async def reaches(self, count: int) -> None:
        """Wait until it has been given so many entries.

        :raises WorkerFailed: if that does not happen
        """
        try:
            with anyio.fail_after(_PATIENCE):
                while int(await self._counts.receive_until(b"\n", _LONGEST_LINE)) < count:
                    pass
        except (anyio.EndOfStream, anyio.IncompleteRead, TimeoutError) as error:
            raise WorkerFailed(f"A worker did not come to {count} entries.") from error

    def kill(self) -> None:
        """End it without a chance to hand anything over."""
        self._process.kill()

    def resident_bytes(self) -> int | None:
        """Return how much memory it has; None where the system does not tell."""
        if sys.platform != "linux":
            return None
        # proc_pid_statm(5): the second number counts resident pages.
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def working(
    server: RunningServer, driver: str, subscription: Mapping[str, object], *, hangs: bool = False
) -> AsyncIterator[Worker]:
    """Start a worker with some settings of its subscription, and kill it in the end."""
    job = {"url": server.url, "driver": driver, "hangs": hangs, "subscription": {**subscription}}
    command = [sys.executable, "-m", _PROGRAM, json.dumps(job)]
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=None) as process:
        worker = Worker(process)
        try:
            yield worker
        finally:
            if process.returncode is None:
                worker.kill()
