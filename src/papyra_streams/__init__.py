"""Redis and Valkey Streams persistence for the Papyra actor framework."""

from .application.metrics import Histogram, StreamsMetrics, WriteStats
from .application.subscribing.delivery import Delivery
from .application.subscribing.subscription import Subscription
from .config import RedisConsumerGroupConfig, RedisStreamsConfig
from .domain.groups import (
    ConsumerStatus,
    GroupStatus,
    PendingSummary,
    QuarantinedEntry,
    RedisStreamEntry,
    ReplayReport,
)
from .domain.kinds import StreamKind
from .domain.reports import HeldBack, StreamAnomaly, StreamsCompactionReport
from .domain.subscribing import SubscriptionConfig
from .domain.writing import WritePolicy
from .errors import (
    AuthenticationFailed,
    Closed,
    ConfigurationError,
    DriverNotInstalled,
    GroupExists,
    GroupMissing,
    Indeterminate,
    InvalidEntryId,
    InvalidName,
    InvalidUrl,
    InvalidValue,
    LeaseLost,
    OutOfMemory,
    PermissionDenied,
    Rejected,
    SpoolCorrupt,
    SpoolFailed,
    StreamsError,
    Unavailable,
    UnknownDriver,
    UnknownKind,
    UnsupportedOperation,
    WrongType,
)
from .persistence import RedisStreamsPersistence

__all__ = [
    "AuthenticationFailed",
    "Closed",
    "ConfigurationError",
    "ConsumerStatus",
    "Delivery",
    "DriverNotInstalled",
    "GroupExists",
    "GroupMissing",
    "GroupStatus",
    "HeldBack",
    "Histogram",
    "Indeterminate",
    "InvalidEntryId",
    "InvalidName",
    "InvalidUrl",
    "InvalidValue",
    "LeaseLost",
    "OutOfMemory",
    "PendingSummary",
    "PermissionDenied",
    "QuarantinedEntry",
    "RedisConsumerGroupConfig",
    "RedisStreamEntry",
    "RedisStreamsConfig",
    "RedisStreamsPersistence",
    "Rejected",
    "ReplayReport",
    "SpoolCorrupt",
    "SpoolFailed",
    "StreamAnomaly",
    "StreamKind",
    "StreamsCompactionReport",
    "StreamsError",
    "StreamsMetrics",
    "Subscription",
    "SubscriptionConfig",
    "Unavailable",
    "UnknownDriver",
    "UnknownKind",
    "UnsupportedOperation",
    "WritePolicy",
    "WriteStats",
    "WrongType",
]
