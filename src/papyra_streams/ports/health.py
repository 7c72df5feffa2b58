"""Whether a server answers, and what it can do."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver on a server can do beyond the ports' common ground; asked of the server, never of its version.

    ``lag`` -- the server counts the entries a group was not given yet (Redis 7.0, Valkey)
    ``fsync`` -- it tells when a batch is synced to its append-only file (WAITAOF, with ``appendonly yes``)
    ``claiming_reads`` -- one read gives new entries and stuck ones (XREADGROUP with CLAIM, Redis 8.4)
    ``trio`` -- the driver runs under trio as well as asyncio
    """

    lag: bool
    fsync: bool
    claiming_reads: bool
    trio: bool


class HealthPort(ABC):
    """Asks the server about itself."""

    @abstractmethod
    async def ping(self) -> None:
        """Return if the server answers and lets us in; otherwise raise what stands in the way."""

    @abstractmethod
    async def clock_ms(self) -> int:
        """Return the server's clock, in milliseconds since the epoch."""

    @abstractmethod
    async def capabilities(self, *, near: str = "") -> Capabilities:
        """Return what this driver on this server can do; the server is asked once.

        :param near: a stream; of several servers, its own is asked
        """
