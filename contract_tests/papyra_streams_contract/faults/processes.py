"""The process with an actor system in it, as the test sees it."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from papyra_streams import WritePolicy
from papyra_streams_contract.arranging import eventually
from papyra_streams_contract.servers import PrivateServer

from .accounts import NUMBERS_TO_A_PROCESS, Ledger
from .actor_process import Orders, Summary
from .checking import LONGEST_ANSWER, longest_closing

_PATIENCE_SECONDS = 25.0


class ActorProcess:
    """A child process; the numbers of the n-th one's records begin with n million."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        command = [sys.executable, "-m", "papyra_streams_contract.faults.actor_process", json.dumps(asdict(orders))]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def _log(self) -> Path:
        return Path(self.orders.directory) / "log"

    @property
    def log(self) -> str:
        """What it logged."""
        return self._log.read_text()

    @property
    def returned(self) -> set[int]:
        """The numbers of the events that its backend returned for."""
        notes = self.orders.notes
        return set(map(int, notes.read_text().split())) if notes.exists() else set()

    async def returned_more(self, more: int) -> None:
        """Wait until so many further calls have returned."""
        enough = len(self.returned) + more

        async def have() -> bool:
            assert self._process.poll() is None, self.log
            return len(self.returned) >= enough

        await eventually(have, within=_PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    async def end(self) -> Summary:
        """End it in order, check that its actor was answered and that it closed in time, and return what it saw."""
        self._process.send_signal(signal.SIGTERM)

        async def has_ended() -> bool:
            return self._process.poll() is not None

        await eventually(has_ended, within=_PATIENCE_SECONDS)
        assert self._process.returncode == 0, self.log
        summary = Summary(**json.loads(self.orders.summary.read_text()))
        assert summary.answers > 0
        assert summary.slowest_answer < LONGEST_ANSWER
        assert summary.closing_seconds < longest_closing(WritePolicy(spool_dir=self.orders.spool_dir))
        assert summary.write_errors == summary.dropped
        return summary

    def ledger(self) -> Ledger:
        """Return the account of its events; of one that was killed, some more may be stored than it noted."""
        return Ledger(self.orders.first, NUMBERS_TO_A_PROCESS, self.returned)


class ActorProcesses:
    """Starts processes that share a server and a spool, and ends those that are left."""

    def __init__(self, directory: Path, server: PrivateServer, driver_name: str) -> None:
        self.spool_dir = directory / "spool"
        self._directory = directory
        self._url = server.url
        self._driver_name = driver_name
        self._started: list[ActorProcess] = []

    async def start(self, **given: Any) -> ActorProcess:
        """Start the next one, and return once calls return to it.

        :param given: further `Orders`
        """
        number = len(self._started) + 1
        directory = self._directory / f"process-{number}"
        directory.mkdir(parents=True)
        orders = Orders(
            url=self._url,
            driver=self._driver_name,
            spool_dir=str(self.spool_dir),
            directory=str(directory),
            first=number * NUMBERS_TO_A_PROCESS,
            **given,
        )
        self._started.append(ActorProcess(orders))
        await self._started[-1].returned_more(20)
        return self._started[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            process.kill()
