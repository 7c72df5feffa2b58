"""What the domain asks of a server, one module per role. A driver implements them all as one `StreamStore`."""

from .append import Appended, AppendPort, Confirmation, ProducerMark
from .groups import GroupPort, GroupState, PendingState
from .health import Capabilities, HealthPort
from .maintenance import BadEntry, MaintenancePort, Obstacle, TrimOutcome
from .read import ReadPort
from .servers import EmbeddedServers, ServerLease
from .spool import SpooledBatch, SpooledPage, SpoolFactory, SpoolPort
from .store import StreamStore, Timeouts

__all__ = [
    "AppendPort",
    "Appended",
    "BadEntry",
    "Capabilities",
    "Confirmation",
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
    "SpoolFactory",
    "SpoolPort",
    "SpooledBatch",
    "SpooledPage",
    "StreamStore",
    "Timeouts",
    "TrimOutcome",
]
