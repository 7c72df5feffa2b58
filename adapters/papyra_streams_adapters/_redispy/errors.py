"""From the exceptions of redis-py and valkey-py to the errors a caller can act on."""
# ruff: noqa: N802 -- the names are the clients'

from collections.abc import Mapping
from typing import Protocol

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import StreamsError
from papyra_streams_adapters._resp.errors import lost, server_error, unreachable, without_arguments


class Exceptions(Protocol):
    """The exception classes, as the module ``exceptions`` of either client names them."""

    @property
    def AskError(self) -> type[Exception]: ...
    @property
    def AuthenticationError(self) -> type[Exception]: ...
    @property
    def BusyLoadingError(self) -> type[Exception]: ...
    @property
    def ClusterCrossSlotError(self) -> type[Exception]: ...
    @property
    def ClusterDownError(self) -> type[Exception]: ...
    @property
    def ConnectionError(self) -> type[Exception]: ...
    @property
    def ExecAbortError(self) -> type[Exception]: ...
    @property
    def MasterDownError(self) -> type[Exception]: ...
    @property
    def MovedError(self) -> type[Exception]: ...
    @property
    def NoPermissionError(self) -> type[Exception]: ...
    @property
    def NoScriptError(self) -> type[Exception]: ...
    @property
    def OutOfMemoryError(self) -> type[Exception]: ...
    @property
    def ReadOnlyError(self) -> type[Exception]: ...
    @property
    def ResponseError(self) -> type[Exception]: ...
    @property
    def TryAgainError(self) -> type[Exception]: ...


class ErrorTable:
    """Translates one client's exceptions: by the server's error word, where they have it, else by their class.

    Every method returns None for an exception that is neither the client's nor the network's.
    """

    def __init__(self, base: type[Exception], exceptions: Exceptions) -> None:
        self.answers = (exceptions.ResponseError, exceptions.AuthenticationError, exceptions.BusyLoadingError)
        """What the server answered; the connection is in order and holds the next reply."""
        # int() on a malformed length is the one way a Python parser, without the C one, raises something else.
        self.faults = (base, OSError, ValueError)
        """What may come out of a connection."""
        self._base = base
        self._connection = exceptions.ConnectionError
        self._response = exceptions.ResponseError
        self._codes = _codes(exceptions)

    def connecting(self, error: Exception, endpoint: Endpoint) -> StreamsError | None:
        """Translate what was raised while the connection was opened: the command certainly did not run."""
        if not isinstance(error, self.faults):
            return None
        # Over a Unix socket the handshake runs inside the connect, and both clients wrap its errors in their own.
        inner = error.__cause__ if type(error) is self._connection else None
        answer = self.answer(inner if isinstance(inner, self._base) else error, endpoint)
        return answer or unreachable(endpoint, without_arguments(str(error)) or "no connection in time")

    def exchanging(self, error: Exception, endpoint: Endpoint) -> StreamsError | None:
        """Translate what was raised while the command was sent and its reply read."""
        if not isinstance(error, self.faults):
            return None
        return self.answer(error, endpoint) or lost(endpoint, str(error) or "no reply in time")

    def answer(self, error: BaseException, endpoint: Endpoint) -> StreamsError | None:
        """Translate an error reply; None if ``error`` is anything else."""
        text = without_arguments(str(error))
        if code := self._code(error):
            return server_error(text, code, endpoint)
        return server_error(text, endpoint=endpoint) if isinstance(error, self._response) else None

    def _code(self, error: BaseException) -> str:
        # It also tells "max number of clients", a bare ConnectionError with both clients, from a lost connection.
        if word := getattr(error, "status_code", None):
            return str(word)
        return next((self._codes[kind] for kind in type(error).__mro__ if kind in self._codes), "")


def _codes(exceptions: Exceptions) -> Mapping[type, str]:
    return {
        exceptions.AuthenticationError: "WRONGPASS",
        exceptions.BusyLoadingError: "LOADING",
        exceptions.NoPermissionError: "NOPERM",
        exceptions.NoScriptError: "NOSCRIPT",
        exceptions.OutOfMemoryError: "OOM",
        exceptions.ReadOnlyError: "READONLY",
        exceptions.ExecAbortError: "EXECABORT",
        exceptions.ClusterCrossSlotError: "CROSSSLOT",
        exceptions.ClusterDownError: "CLUSTERDOWN",
        exceptions.MasterDownError: "MASTERDOWN",
        exceptions.TryAgainError: "TRYAGAIN",
        exceptions.AskError: "ASK",
        exceptions.MovedError: "MOVED",
    }
