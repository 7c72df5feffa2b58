"""What can go wrong, told apart by what the caller can do about it."""


class StreamsError(Exception):
    """Base of every error this package raises on its own account.

    ``code`` is the server's error word (``"WRONGTYPE"``), or empty where no server spoke; ``remedy`` says what to do
    about it, where that can be said, and ends what is shown.
    """

    remedy: str = ""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.remedy}" if self.remedy else message


class ConfigurationError(StreamsError, ValueError):
    """A setting or an argument is wrong; no server was asked."""


class UnknownDriver(ConfigurationError):
    """No installed distribution offers a driver of this name."""


class DriverNotInstalled(ConfigurationError):
    """The driver is known, but the client library it drives is not installed."""


class InvalidName(ConfigurationError):
    """A prefix, system id, group or consumer name cannot be used in a key or a command."""


class InvalidUrl(ConfigurationError):
    """The connection URL cannot be understood."""


class InvalidValue(ConfigurationError):
    """An argument lies outside what the operation takes."""


class InvalidEntryId(InvalidValue):
    """An entry id is not ``<milliseconds>-<sequence>``, nor one of the special ids allowed there."""


class UnknownKind(InvalidValue):
    """A kind is not one of ``events``, ``audits`` and ``dead_letters``."""


class Unavailable(StreamsError):
    """The server could not be asked, or refused for the time being: the command certainly did not run."""


class Indeterminate(StreamsError):
    """The command was sent and no whole reply came: it may have run."""


class TimedOut(StreamsError, TimeoutError):
    """A scan or a recovery took longer than the settings allow; what it has done stays done."""


class AuthenticationFailed(StreamsError):
    """The server does not accept the user name or the password."""

    remedy = "Check the user name and the password in `url`."


class PermissionDenied(StreamsError):
    """The server's access control list forbids the command, or the key, to this user."""

    remedy = "Grant the right to this user with ACL SETUSER, or connect as another one."


class OutOfMemory(StreamsError):
    """The server has reached ``maxmemory`` and evicts nothing: the command did not run."""

    remedy = "Raise maxmemory, or compact the streams."


class GroupMissing(StreamsError):
    """The stream, or the consumer group on it, does not exist."""


class GroupExists(StreamsError):
    """A consumer group of this name is already there."""


class LeaseLost(StreamsError):
    """The entry is no longer this consumer's: another has claimed it, or the group was lost. Nothing was done."""


class WrongType(StreamsError):
    """A key that should hold a stream holds something else."""

    remedy = "Choose another `prefix` or `system_id`, or move the key that is in the way."


class ScriptMissing(StreamsError):
    """The server does not know a script by its digest; it must be sent whole."""


class UnsupportedOperation(StreamsError):
    """The server or the driver cannot do what was asked."""


class SpoolFailed(StreamsError):
    """Records cannot be put on local disk, or taken from it, for now."""

    remedy = "See that the disk has room, that `spool_dir` can be written, and that `spool_bytes` is large enough."


class SpoolCorrupt(SpoolFailed):
    """The file of the spool is damaged, or holds something else."""

    remedy = "Move it away, and start again the processes that use it; a new one is made when it is needed."


class Closed(StreamsError):
    """The backend was closed before the call."""


class Rejected(StreamsError):
    """The server refused the command for another reason; ``code`` says which."""
