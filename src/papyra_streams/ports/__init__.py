"""What the domain asks of a server, one module per role. A driver implements them all as one `StreamStore`."""

from .append import Appended, AppendPort, Confirmation, ProducerMark
from .deliveries import DeadEntry, Delivered, DeliveryPort, Joined, Member, Settled
from .groups import GroupPort, GroupState, PendingState
from .health import Capabilities, HealthPort
from .maintenance import Abandonment, BadEntry, DanglingPage, Demand, Demands, MaintenancePort, Obstacle, TrimOutcome
from .membership import ConsumerState, GroupStanding, MembershipPort, PendingEntry
from .quarantine import QuarantinePort, Replayed
from .read import ReadPort
from .rebuilding import CopyStep, RebuildingPort
from .servers import EmbeddedServers, ServerLease
from .spool import SpooledBatch, SpooledPage, SpoolFactory, SpoolPort
from .store import StreamStore, Timeouts

__all__ = [
    "Abandonment",
    "AppendPort",
    "Appended",
    "BadEntry",
    "Capabilities",
    "Confirmation",
    "ConsumerState",
    "CopyStep",
    "DanglingPage",
    "DeadEntry",
    "Delivered",
    "DeliveryPort",
    "Demand",
    "Demands",
    "EmbeddedServers",
    "GroupPort",
    "GroupStanding",
    "GroupState",
    "HealthPort",
    "Joined",
    "MaintenancePort",
    "Member",
    "MembershipPort",
    "Obstacle",
    "PendingEntry",
    "PendingState",
    "ProducerMark",
    "QuarantinePort",
    "ReadPort",
    "RebuildingPort",
    "Replayed",
    "ServerLease",
    "Settled",
    "SpoolFactory",
    "SpoolPort",
    "SpooledBatch",
    "SpooledPage",
    "StreamStore",
    "Timeouts",
    "TrimOutcome",
]
