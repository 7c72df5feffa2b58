"""Redis and Valkey Streams persistence for the Papyra actor framework."""

from .application.metrics import Histogram, StreamsMetrics, WriteStats
from .config import RedisConsumerGroupConfig, RedisStreamsConfig
from .domain.groups import PendingSummary, RedisStreamEntry
from .domain.kinds import StreamKind
from .domain.reports import HeldBack, StreamAnomaly, StreamsCompactionReport
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
    "DriverNotInstalled",
    "GroupExists",
    "GroupMissing",
    "HeldBack",
    "Histogram",
    "Indeterminate",
    "InvalidEntryId",
    "InvalidName",
    "InvalidUrl",
    "InvalidValue",
    "OutOfMemory",
    "PendingSummary",
    "PermissionDenied",
    "RedisConsumerGroupConfig",
    "RedisStreamEntry",
    "RedisStreamsConfig",
    "RedisStreamsPersistence",
    "Rejected",
    "SpoolCorrupt",
    "SpoolFailed",
    "StreamAnomaly",
    "StreamKind",
    "StreamsCompactionReport",
    "StreamsError",
    "StreamsMetrics",
    "Unavailable",
    "UnknownDriver",
    "UnknownKind",
    "UnsupportedOperation",
    "WritePolicy",
    "WriteStats",
    "WrongType",
]
