"""What coredis raises, and what it means."""

from anyio import BrokenResourceError, ClosedResourceError
from coredis import exceptions as raised

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Rejected, StreamsError

from .._resp.errors import lost, repeats, server_error, unreachable, without_arguments

# coredis 6.9 takes the error word off the text where it has a class for it. A class comes before its base class; those
# of the consumer groups are no ResponseErrors.
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (raised.AuthenticationRequiredError, "NOAUTH"),
    (raised.AuthenticationFailureError, "WRONGPASS"),
    (raised.AuthorizationError, "NOPERM"),
    (raised.StreamDuplicateConsumerGroupError, "BUSYGROUP"),
    (raised.StreamConsumerGroupError, "NOGROUP"),
    (raised.WrongTypeError, "WRONGTYPE"),
    (raised.NoScriptError, "NOSCRIPT"),
    (raised.ReadOnlyError, "READONLY"),
    (raised.BusyLoadingError, "LOADING"),
    (raised.ExecAbortError, "EXECABORT"),
    (raised.UnblockedError, "UNBLOCKED"),
    (raised.NotBusyError, "NOTBUSY"),
    (raised.NoKeyError, "NOKEY"),
    (raised.MovedError, "MOVED"),
    (raised.AskError, "ASK"),
    (raised.TryAgainError, "TRYAGAIN"),
    (raised.ClusterDownError, "CLUSTERDOWN"),
    (raised.ClusterCrossSlotError, "CROSSSLOT"),
    (raised.ProtocolError, "NOPROTO"),
    (raised.UnknownCommandError, "ERR"),
)
_NO_ROOM = "max number of clients"


def opening_failed(endpoint: Endpoint, error: Exception, secret: str | None) -> StreamsError:
    """Translate what kept a connection from being opened; nothing was sent.

    Its cause is left out where it repeats the password, as a server does that quotes the HELLO it does not know.
    """
    if isinstance(error, StreamsError):
        return error
    root = _root(error)
    said = _said_by_server(root, endpoint, secret)
    failure = said or unreachable(endpoint, _without(secret, _reason(root)))
    if not repeats(error, secret):
        failure.__cause__ = error
    return failure


def reply_failed(endpoint: Endpoint, error: BaseException) -> StreamsError:
    """Translate what came in place of the reply to a command that was sent."""
    root = _root(error)
    failure = _said_by_server(root, endpoint) or lost(endpoint, _reason(root))
    failure.__cause__ = error
    return failure


def _said_by_server(error: BaseException, endpoint: Endpoint, secret: str | None = None) -> StreamsError | None:
    text = _without(secret, str(error))
    for kind, word in _WORDS:
        if isinstance(error, kind):
            return server_error(text, word, endpoint)
    if isinstance(error, raised.ResponseError):
        # coredis 6.9 takes ERR off as well: "ERR ACL failure in script" reads as if ACL were the error word.
        known = server_error(text, "ERR", endpoint)
        return server_error(text, endpoint=endpoint) if isinstance(known, Rejected) else known
    if isinstance(error, raised.ConnectionError) and text.startswith(_NO_ROOM):
        return server_error(text, "ERR", endpoint)
    return None


def _root(error: BaseException) -> BaseException:
    """Find what a ConnectionError of coredis, or a group, was made from."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[-1]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return str(error) or "timed out"
    if isinstance(error, ClosedResourceError | BrokenResourceError):
        return "the connection has just been closed"
    return str(error) or type(error).__name__


def _without(secret: str | None, text: str) -> str:
    text = without_arguments(text)
    return text.replace(secret, "***") if secret else text
