"""What the domain asks of a server, one module per role. A driver implements them all as one `StreamStore`."""

from .append import AppendPort, ProducerMark
from .groups import GroupPort, GroupState, PendingState
from .health import Capabilities, HealthPort
from .maintenance import BadEntry, MaintenancePort, Obstacle, TrimOutcome
from .read import ReadPort
from .servers import EmbeddedServers, ServerLease
from .store import StreamStore, Timeouts

__all__ = [
    "AppendPort",
    "BadEntry",
    "Capabilities",
    "EmbeddedServers",
    "GroupPort",
    "GroupState",
    "HealthPort",
    "MaintenancePort",
    "Obstacle",
    "PendingState",
    "ProducerMark",
    "ReadPort",
    "ServerLease",
    "StreamStore",
    "Timeouts",
    "TrimOutcome",
]
