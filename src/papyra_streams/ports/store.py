"""All roles together: what a driver supplies."""

from abc import abstractmethod
from dataclasses import dataclass

from .append import AppendPort
from .deliveries import DeliveryPort
from .groups import GroupPort
from .health import HealthPort
from .maintenance import MaintenancePort
from .membership import MembershipPort
from .quarantine import QuarantinePort
from .read import ReadPort
from .rebuilding import RebuildingPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for a connection and for a reply, in seconds."""

    connect: float = 5.0
    command: float = 5.0


class StreamStore(
    AppendPort,
    ReadPort,
    GroupPort,
    DeliveryPort,
    MembershipPort,
    QuarantinePort,
    MaintenancePort,
    RebuildingPort,
    HealthPort,
):
    """Streams on one server, through one client library.

    Constructing does no I/O; the first call connects. Every method may be called from any task of one event loop, and
    raises only errors of `papyra_streams.errors`.
    """

    @property
    @abstractmethod
    def event_loops(self) -> frozenset[str]:
        """The event loops it runs on, by sniffio's names: ``asyncio``, ``trio``."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection; from any task, once or more often."""
