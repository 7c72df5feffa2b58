"""The process with the traffic in it, as the test sees it."""

import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from papyra_streams_contract.arranging import eventually
from papyra_streams_contract.processes import start_child

from .orders import Orders, Summary

_PATIENCE_SECONDS = 40.0


class TrafficProcess:
    """A child process, which is ended with the block if it has not ended by itself."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        command = [sys.executable, "-m", "papyra_streams_contract.failovers.traffic"]
        self._process = start_child(
            [*command, msgspec.json.encode(orders).decode()], Path(orders.directory), orders.log
        )

    async def recorded(self, more: int) -> None:
        """Wait until so many further calls have returned, while it lives."""
        enough = self._recorded + more

        async def have() -> bool:
            assert self._process.poll() is None, self._orders.log.read_text()
            return self._recorded >= enough

        await eventually(have, within=_PATIENCE_SECONDS)

    async def end(self) -> Summary:
        """End it in order, and return what it saw."""
        self._process.send_signal(signal.SIGTERM)

        async def has_ended() -> bool:
            return self._process.poll() is not None

        await eventually(has_ended, within=_PATIENCE_SECONDS)
        assert self._process.returncode == 0, self._orders.log.read_text()
        return msgspec.json.decode(self._orders.summary.read_bytes(), type=Summary)

    @property
    def _recorded(self) -> int:
        return int(self._orders.progress.read_text() or 0) if self._orders.progress.exists() else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
