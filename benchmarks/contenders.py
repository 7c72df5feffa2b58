"""The backends that are measured, and those that do nothing, which show what the rest costs."""

import asyncio
import math
from collections.abc import Callable

from papyra.persistence.backends import redis as papyra_redis
from papyra.persistence.base import PersistenceBackend

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence, WritePolicy

from .events import SYSTEM

PREFIX = "bench"
STREAM = f"{PREFIX}:{SYSTEM}:events"

Open = Callable[[str], PersistenceBackend]
"""Builds a backend for the server at a URL."""


def papyra(url: str) -> PersistenceBackend:
    """Build Papyra's own backend, which uses redis-py."""
    return papyra_redis.RedisStreamsPersistence(
        papyra_redis.RedisStreamsConfig(url=url, prefix=PREFIX, system_id=SYSTEM)
    )


def ours(driver: str, policy: WritePolicy | None = None) -> Callable[[str], RedisStreamsPersistence]:
    """Return what builds our backend with one driver, and with the default policy where none is given."""

    def build(url: str) -> RedisStreamsPersistence:
        return RedisStreamsPersistence(
            RedisStreamsConfig(
                url=url, prefix=PREFIX, system_id=SYSTEM, driver=driver, write_policy=policy or WritePolicy()
            )
        )

    return build


class NoBackend(PersistenceBackend):
    """Stores nothing, at once."""

    async def record_event(self, event: object) -> None:
        pass

    async def record_audit(self, report: object) -> None:
        pass

    async def record_dead_letter(self, dead_letter: object) -> None:
        pass


class Gate(PersistenceBackend):
    """Stores nothing; its callers all wait for one future, as for a server that answers all of them at once.

    There is no cheaper way to wait. Build it while asyncio's event loop runs.

    :param callers: with how many the gate opens; without a number, only `open` does that
    """

    def __init__(self, callers: float = math.inf) -> None:
        super().__init__()
        self._absent = callers
        self._opened = asyncio.get_running_loop().create_future()

    async def record_event(self, event: object) -> None:  # noqa: ARG002 -- the port has it
        self._absent -= 1
        if not self._absent:
            self.open()
        await self._opened

    def open(self) -> None:
        """Let all go."""
        self._opened.set_result(None)
