"""The workers, as the test sees them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import msgspec

from papyra_streams_contract.arranging import eventually
from papyra_streams_contract.servers import Server

from .ledgers import Handling, Ledger, by_begin, done_entries
from .orders import Orders, Summary
from .parent import Request

_PATIENCE_SECONDS = 25.0
_SHOWN = 3000


class Parent:
    """The process that forks workers; of the test run's own session, so that Ctrl-C reaches the tests alone."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "papyra_streams_contract.workers.parent"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0
        )

    def fork(self, orders: Orders) -> int:
        """Have a worker made, and return its process id."""
        (started,) = self._ask(orders)
        assert started is not None
        return started

    def exit_codes(self, workers: list[int]) -> list[int | None]:
        """Return how each of these processes ended; None for those that live."""
        return self._ask(workers)

    def close(self) -> None:
        """End it, and with it every worker that is left."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _ask(self, request: Request) -> list[int | None]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        return msgspec.json.decode(self._process.stdout.readline(), type=list[int | None])


class WorkerProcess:
    """A process with a worker in it. It noted in nanoseconds, as everywhere here, when it was ``killed``."""

    def __init__(self, number: int, orders: Orders, parent: Parent) -> None:
        self.number = number
        self.orders = orders
        self.ledger = Ledger(number, orders.ledger)
        self.killed: int | None = None
        self.exit_code: int | None = None
        self._parent = parent
        self.process_id = parent.fork(orders)

    @property
    def log(self) -> str:
        """The end of what it logged."""
        return self.orders.log.read_text(errors="replace")[-_SHOWN:] if self.orders.log.exists() else ""

    @property
    def summary(self) -> Summary:
        """What it said of itself, after it has ended by itself."""
        return msgspec.json.decode(self.orders.summary.read_bytes(), type=Summary)

    @property
    def handlings(self) -> list[Handling]:
        """What it has noted so far."""
        self.ledger.read_on()
        return self.ledger.handlings

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        if self.exit_code is None:
            (self.exit_code,) = self._parent.exit_codes([self.process_id])
        return self.exit_code is None

    def kill(self) -> None:
        """End it at once."""
        self.killed = time.monotonic_ns()
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is known to have ended; until then nobody else gets its process id."""
        if self.exit_code is None:
            os.kill(self.process_id, number)

    async def until(self, holds: Callable[[list[Handling]], bool], *, within: float = _PATIENCE_SECONDS) -> None:
        """Wait until something holds for what it has noted, while it lives."""

        async def held() -> bool:
            assert self.lives, f"worker {self.number} ended with {self.exit_code}: {self.log}"
            return holds(self.handlings)

        await eventually(held, within=within)

    async def ended(self, *, within: float = _PATIENCE_SECONDS) -> int:
        """Wait until it has ended, and return its exit code."""

        async def has_ended() -> bool:
            return not self.lives

        await eventually(has_ended, within=within)
        assert self.exit_code is not None
        return self.exit_code


class Crew:
    """The workers of one test on one server, of which those are ended in the end that are left.

    :param given: `Orders` that all of them have in common
    """

    def __init__(self, parent: Parent, server: Server, driver_name: str, directory: Path, **given: Any) -> None:
        self.workers: list[WorkerProcess] = []
        self._parent = parent
        self._orders = Orders(url=server.url, driver=driver_name, directory=str(directory), **given)

    def start(self, count: int = 1, **given: Any) -> list[WorkerProcess]:
        """Start workers.

        :param given: further `Orders`
        """
        return [self._start(given) for _ in range(count)]

    @property
    def at_work(self) -> list[WorkerProcess]:
        """Those that nobody has killed and that were not seen to end, each of which is checked to live."""
        living = [worker for worker in self.workers if worker.killed is None and worker.exit_code is None]
        exit_codes = self._parent.exit_codes([worker.process_id for worker in living])
        for worker, exit_code in zip(living, exit_codes, strict=True):
            worker.exit_code = exit_code
        for worker in living:
            assert not worker.exit_code, f"worker {worker.number} ended with {worker.exit_code}: {worker.log}"
        return [worker for worker in living if worker.exit_code is None]

    @property
    def kills(self) -> dict[int, int]:
        """When each of those was killed that were."""
        return {worker.number: worker.killed for worker in self.workers if worker.killed is not None}

    @property
    def last_to_begin(self) -> WorkerProcess:
        """The one that began with an entry last."""
        last = self.handlings()[-1].worker
        return next(worker for worker in self.workers if worker.number == last)

    def replace_one(self, chance: Random) -> None:
        """Kill any one of them, and start another in its place."""
        chance.choice([worker for worker in self.workers if worker.killed is None]).kill()
        self.start()

    def handlings(self) -> list[Handling]:
        """Return what all of them have noted so far, in the order in which it began."""
        for worker in self.workers:
            worker.ledger.read_on()
        return by_begin(worker.ledger for worker in self.workers)

    async def handled(self, count: int, *, within: float = _PATIENCE_SECONDS) -> None:
        """Wait until they are done with so many different entries."""

        async def have() -> bool:
            assert self.at_work
            return len(done_entries(self.handlings())) >= count

        await eventually(have, within=within)

    async def handled_more(self, count: int) -> None:
        """Wait until they are done with so many further entries."""
        await self.handled(len(done_entries(self.handlings())) + count)

    async def end(self) -> list[Summary]:
        """Have those end in order that are left, and return what they say."""
        ending = self.at_work
        for worker in ending:
            worker.send(signal.SIGTERM)
        for worker in ending:
            assert await worker.ended() == 0, worker.log
        return [worker.summary for worker in ending]

    def _start(self, given: dict[str, Any]) -> WorkerProcess:
        number = len(self.workers) + 1
        directory = Path(self._orders.directory) / f"worker-{number}"
        directory.mkdir(parents=True)
        orders = replace(self._orders, directory=str(directory), **given)
        self.workers.append(WorkerProcess(number, orders, self._parent))
        return self.workers[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.send(signal.SIGKILL)
        for worker in self.workers:
            while worker.lives:
                time.sleep(0.01)
