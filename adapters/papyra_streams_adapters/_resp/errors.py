"""From what a server or a connection said to the error a caller can act on. Each client's own table leads here."""

import re
from collections.abc import Iterator, Sequence

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import (
    AuthenticationFailed,
    Closed,
    GroupExists,
    GroupMissing,
    Indeterminate,
    OutOfMemory,
    PermissionDenied,
    Rejected,
    ScriptMissing,
    StreamsError,
    Unavailable,
    UnsupportedOperation,
    WrongType,
)

from .slots import Address

_CODE = re.compile(r"([A-Z][A-Z0-9_]{2,})(?: |$)")

_REDIRECTION = re.compile(r"(?P<slot>\d+) (?P<host>\S*):(?P<port>\d+)")

# Every server that has streams knows these. A Sentinel does not say in its answer that it is one.
_UNKNOWN_TO_SENTINELS = re.compile(r"unknown command .(?:cluster|eval|evalsha|select|time|x\w+)\b", re.IGNORECASE)

_WRITE_SENTINEL = "If that is a Sentinel, write redis+sentinel://host:port/service in `url`."
_GIVE_SENTINEL = "If that is a Sentinel, give a client that asks it for the primary."
_GIVE_CLUSTER = "It is a node of a cluster: give a client of the cluster."

# Redis 6.2 puts this before what went wrong inside a script.
_WITHIN_A_SCRIPT = re.compile(r"(?:Error running script \(call to \w+\): )?(?:@user_script: ?\d+: )+-?")

# A server that does not know AUTH or HELLO repeats its arguments, and with them the password, in the answer. It cuts
# them at 128 characters, so that looking for the whole password may not find it.
_REPEATED_ARGUMENTS = ", with args"

_BY_CODE: dict[str, type[StreamsError]] = {
    "NOAUTH": AuthenticationFailed,
    "WRONGPASS": AuthenticationFailed,
    "NOPERM": PermissionDenied,
    "OOM": OutOfMemory,
    "NOGROUP": GroupMissing,
    "BUSYGROUP": GroupExists,
    "WRONGTYPE": WrongType,
    "NOSCRIPT": ScriptMissing,
    "LOADING": Unavailable,
    "BUSY": Unavailable,
    "MASTERDOWN": Unavailable,
    "CLUSTERDOWN": Unavailable,
    "TRYAGAIN": Unavailable,
    "NOREPLICAS": Unavailable,
    "MISCONF": Unavailable,
    "READONLY": Unavailable,
    # A blocked read that ends since the server became a replica: it gave nothing.
    "UNBLOCKED": Unavailable,
    "MOVED": Unavailable,
    "ASK": Unavailable,
}

# The server gives these no code of their own, only ERR.
_BY_BEGINNING: tuple[tuple[str, type[StreamsError]], ...] = (
    ("unknown command", UnsupportedOperation),
    ("unknown subcommand", UnsupportedOperation),
    ("max number of clients", Unavailable),
    ("no such key", GroupMissing),
    ("the xgroup subcommand requires the key to exist", GroupMissing),
    ("acl failure in script", PermissionDenied),
    ("the user executing the script can't", PermissionDenied),
    ("invalid password", AuthenticationFailed),
    ("auth <password> called without any password configured", AuthenticationFailed),
)


def server_error(text: str, code: str = "", endpoint: Endpoint | None = None) -> StreamsError:
    """Translate an error reply.

    :param code: its first word, where the client has taken it off ``text``
    :param endpoint: whose reply it is
    """
    failure = _translated(text, code)
    if endpoint and isinstance(failure, AuthenticationFailed):
        failure.remedy = f"Check the user name and the password in {endpoint.login_given_as}."
    if endpoint and isinstance(failure, Redirected):
        failure.remedy = endpoint.correction(url=failure.remedy, client=_GIVE_CLUSTER)
    if _UNKNOWN_TO_SENTINELS.search(text):
        failure.remedy = (endpoint or Endpoint()).correction(url=_WRITE_SENTINEL, client=_GIVE_SENTINEL)
    return failure


def _translated(text: str, code: str) -> StreamsError:
    # Some clients take off ERR without telling, so that "ACL failure" would look like a code.
    bare = text.removeprefix("ERR ")
    if within := _WITHIN_A_SCRIPT.match(bare):
        return _translated(bare[within.end() :], "")
    lowered = bare.lower()
    for beginning, kind in _BY_BEGINNING if code in ("", "ERR") else ():
        if lowered.startswith(beginning):
            return kind(_sentence(f"The server answered: {bare}"), code="ERR")
    if not code:
        match = _CODE.match(text)
        code, text = (match[1], text[match.end() :]) if match else ("ERR", text)
    if code in ("MOVED", "ASK") and (redirected := _redirected(code, text)):
        return redirected
    return _BY_CODE.get(code, Rejected)(_sentence(f"The server answered {code}: {text}"), code=code)


class Redirected(Unavailable):
    """A node of a cluster says which other node has the keys; ``asks`` if that one has to be told that we know."""

    remedy = "It is a node of a cluster: write redis+cluster:// in `url`."

    def __init__(self, message: str, *, code: str, slot: int, address: Address) -> None:
        super().__init__(message, code=code)
        self.slot = slot
        self.address = address

    @property
    def asks(self) -> bool:
        """Whether the keys are still on their way there."""
        return self.code == "ASK"

    def leads_to(self, asked: Address) -> Address:
        """Return where to go; a node leaves the host out where that is the one that was asked."""
        return self.address if self.address.host else self.address._replace(host=asked.host)


class Nameless(Unavailable):
    """A node of a cluster says that another one has the keys, and cannot say by which name that is to be reached."""

    remedy = (
        "Set `cluster-announce-hostname` on each node, or `cluster-preferred-endpoint-type ip`;"
        " a cluster needs redis+cluster:// in `url`, or a client of the cluster."
    )


def _redirected(code: str, text: str) -> Redirected | Nameless | None:
    match = _REDIRECTION.match(text)
    if match is None:
        return None
    message = f"The server answered {code}: {match[0]}."
    if match["host"] == "?":
        return Nameless(message, code=code)
    address = Address(match["host"], int(match["port"]))
    return Redirected(message, code=code, slot=int(match["slot"]), address=address)


def nobody_told(what: str, errors: Sequence[StreamsError]) -> StreamsError:
    """Say that several servers were asked, and why none has answered; as long as one is away, that it is an outage."""
    away = [error for error in errors if isinstance(error, Unavailable | Indeterminate)]
    if errors and not away:
        return errors[0]
    failure = Unavailable(f"{what} {' '.join(dict.fromkeys(map(str, errors)))}")
    failure.__cause__ = errors[-1] if errors else None
    return failure


def unreachable(endpoint: Endpoint, reason: str) -> Unavailable:
    """Say that no connection could be had, so that nothing was sent."""
    failure = Unavailable(_sentence(f"{endpoint} cannot be reached: {reason}"))
    failure.remedy = f"Check {endpoint.given_as}, and that the server runs."
    return failure


def lost(endpoint: Endpoint, reason: str) -> Indeterminate:
    """Say that the connection ended, or no reply came in time, after the command was sent."""
    return Indeterminate(_sentence(f"{endpoint} gave no whole reply: {reason}") + " The command may have run.")


def closed() -> Closed:
    """Say that the driver was closed before the call."""
    return Closed("The driver is closed.")


def without_arguments(text: str) -> str:
    """Cut off what a server repeats of the command it does not know."""
    return text.partition(_REPEATED_ARGUMENTS)[0]


def repeats(error: BaseException, secret: str | None = None) -> bool:
    """Tell whether an exception, or one it came from, shows ``secret`` or what was sent, which may hold it."""
    secrets = (_REPEATED_ARGUMENTS, secret) if secret else (_REPEATED_ARGUMENTS,)
    return any(hidden in text for text in _texts(error) for hidden in secrets)


def _texts(error: BaseException) -> Iterator[str]:
    yield str(error)
    within = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *within):
        if other is not None:
            yield from _texts(other)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
