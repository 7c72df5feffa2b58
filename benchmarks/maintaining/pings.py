"""The process that sends PINGs, seen from the one that measures."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import Process

from benchmarks.servers import RunningServer

_PROGRAM = "benchmarks.maintaining.pinger"


class Pings:
    """What PINGs took; known when the process has ended."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []

    def read(self, printed: bytes) -> None:
        """Take in what the process has printed."""
        self._found = [(due, taken) for due, taken in json.loads(printed)]

    def between(self, begun: float, ended: float) -> list[float]:
        """Return the seconds of those that were due between two moments of the monotonic clock."""
        return [taken for due, taken in self._found if begun <= due < ended]


@asynccontextmanager
async def pinging(server: RunningServer) -> AsyncIterator[Pings]:
    """Let a process send PINGs meanwhile."""
    command = [sys.executable, "-m", _PROGRAM, server.endpoint.host, str(server.endpoint.port)]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout  # noqa: S101 -- it is a pipe
        await process.stdout.receive(1)
        pings = Pings()
        yield pings
        pings.read(await _ended(process))


async def _ended(process: Process) -> bytes:
    assert process.stdin  # noqa: S101 -- they are pipes
    assert process.stdout  # noqa: S101
    await process.stdin.aclose()
    return b"".join([part async for part in process.stdout])
