"""Workers on a subscription, each a process, seen from the process that started them."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from .crew import WorkerFailed
from .stage import Stage

_PROGRAM = "papyra_streams.cli.demo_subscriber"
_PATIENCE = 20.0
_LONGEST_LINE = 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of a delivery: that it begins with it, or is ``done``; and the type of the event."""

    id: str
    attempt: int
    event: str
    done: bool


Reports = Sequence[Report]


class Clerk:
    """A worker that handles what its subscription gives it, until it is ended; ``end`` says how it was."""

    def __init__(self, name: str, process: Process) -> None:
        assert process.stdout  # noqa: S101 -- it is a pipe, see below
        self.name = name
        self.end = ""
        self.reports: list[Report] = []
        self._process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def until(self, enough: Callable[[Reports], bool]) -> None:
        """Listen until what it has said is enough.

        :raises WorkerFailed: if it ends before, or takes too long
        """
        try:
            with anyio.fail_after(_PATIENCE):
                while not enough(self.reports):
                    self.reports.append(Report(**json.loads(await self._lines.receive_until(b"\n", _LONGEST_LINE))))
        except (anyio.EndOfStream, anyio.IncompleteRead) as error:
            raise WorkerFailed(f"The worker {self.name} ended before its work was done.") from error
        except TimeoutError as error:
            raise WorkerFailed(f"The worker {self.name} does not come to an end.") from error

    async def kill(self) -> int:
        """End it at once, without a chance to tidy up; return its exit status."""
        self._process.kill()
        return await self._process.wait()

    async def terminate(self) -> int:
        """Ask it to end with SIGTERM; return its exit status.

        :raises WorkerFailed: if it does not end
        """
        self._process.terminate()
        try:
            with anyio.fail_after(_PATIENCE):
                return await self._process.wait()
        except TimeoutError as error:
            raise WorkerFailed(f"The worker {self.name} does not end with SIGTERM.") from error


@asynccontextmanager
async def at_work(
    stage: Stage,
    name: str,
    subscription: dict[str, object],
    *,
    hangs: bool = False,
    cannot_handle: Sequence[str] | None = None,
) -> AsyncIterator[Clerk]:
    """Start a worker, and end it if it still runs in the end."""
    # -P: no module of the user's working directory stands in for one of ours.
    command = [sys.executable, "-P", "-m", _PROGRAM]
    # Ctrl-C in the terminal is for the demo alone, hence the session.
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, start_new_session=True
    )
    # Leaving closes its input, with which it ends; if anything goes wrong it is killed.
    async with process:
        # The URL may hold a password, which other users would see among the arguments.
        settings = {each: getattr(stage.settings, each) for each in ("url", "prefix", "system_id", "driver")}
        job = {
            "settings": settings,
            "subscription": {"consumer": name, **subscription},
            "hangs": hangs,
            "cannot_handle": cannot_handle,
        }
        assert process.stdin  # noqa: S101 -- it is a pipe
        try:
            await process.stdin.send(json.dumps(job).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerFailed(f"The worker {name} ended before its work was done.") from error
        yield Clerk(name, process)
