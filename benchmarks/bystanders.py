"""How much of the machine's time other processes took, without which the figures cannot be judged."""

import os
import sys
from pathlib import Path

from .servers import RunningServer

_STEAL = 7
_NOT_BUSY = slice(3, 7)
"""Idle, waiting for a disk, and interrupts, most of which are of our own making."""


class Bystanders:
    """Watches from when it is made."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._begun = self._seconds()

    def share(self) -> float | None:
        """Return the share of all cores' time that neither this process, nor what it started, nor the server used.

        What the machine's host gave to others counts too. None where the system does not tell, or nothing was watched.
        """
        if self._begun is None or (now := self._seconds()) is None:
            return None
        others, whole = (after - before for before, after in zip(self._begun, now, strict=True))
        return max(others, 0.0) / whole if whole else None

    def _seconds(self) -> tuple[float, float] | None:
        if sys.platform != "linux":
            return None
        # proc_stat(5): a sum over all cores, in ticks; what comes after "steal" is counted under "user" already.
        ticks = [int(word) for word in Path("/proc/stat").read_text().split()[1 : _STEAL + 2]]
        whole = sum(ticks)
        busy = whole - sum(ticks[_NOT_BUSY])
        second = os.sysconf("SC_CLK_TCK")
        ours = sum(os.times()[:4]) + self._server.cpu_seconds
        return busy / second - ours, whole / second
