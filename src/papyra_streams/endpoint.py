"""Where a server is, read from a URL once, so that every driver understands the same ones."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from posixpath import normpath
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from papyra_streams.errors import InvalidUrl

_DEFAULT_PORT = 6379
_LONGEST_NUMBER = 10
_TLS_BY_SCHEME = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_SCHEMES = (*_TLS_BY_SCHEME, "unix", "embedded")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ROOTS = ("/", "//")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server: a TCP address, or the path of a Unix socket, and who we are there."""

    host: str = ""
    port: int = _DEFAULT_PORT
    path: str = ""
    tls: bool = False
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Name the server as people write it, without user name and password."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedDirectory:
    """A server to be started on demand. ``path`` is where its data stay; None throws them away with the server."""

    path: str | None


def parse_url(url: str) -> Endpoint | EmbeddedDirectory:
    """Read a connection URL.

    Understood are ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` (the last letter asks for TLS),
    ``unix:///path?db=n``, ``embedded://`` and ``embedded:///directory``. User name and password are percent-encoded.

    :raises InvalidUrl: if it is malformed; the message repeats nothing that may be a password
    """
    if not isinstance(url, str):
        raise InvalidUrl(f"`url` must be a string, not {type(url).__name__}.")
    _check_characters(url)
    parts, port = _split(url)
    if parts.scheme not in _SCHEMES:
        raise InvalidUrl(
            f"`url` begins with {repr(parts.scheme + '://') if parts.scheme else 'no scheme'};"
            f" write one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}."
        )
    if parts.scheme == "embedded":
        return _embedded(parts)
    _check_end(parts)
    return _unix(parts) if parts.scheme == "unix" else _tcp(parts, port)


def without_password(url: str) -> str:
    """Show a URL that `parse_url` accepts, with three stars for the password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    credentials, _, address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials.partition(':')[0]}:***@{address}").geturl()


def _check_characters(url: str) -> None:
    # urlsplit drops tabs and newlines without a word, which would change a password.
    if _CONTROL.search(url):
        raise InvalidUrl("`url` contains a control character; percent-encode it (a tab is %09), or take it out.")
    if url != url.strip():
        raise InvalidUrl("`url` begins or ends with a blank; take it out.")


def _split(url: str) -> tuple[SplitResult, int | None]:
    # The ValueError quotes the part that cannot be read, which may hold the password; so it is not to be the context.
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts, parts.port
    raise InvalidUrl(
        "`url` is malformed: host or port cannot be read."
        " The port is a number up to 65535; percent-encode user name and password, and write an '@' before the host."
    )


def _check_end(parts: SplitResult) -> None:
    # A raw "/", "?" or "#" in a password ends the address, and what follows would be shown as if it were no secret.
    if parts.netloc and "@" in parts.path + parts.query + parts.fragment:
        raise InvalidUrl("`url` has an '@' after its address; percent-encode the user name and the password.")
    if parts.fragment:
        raise InvalidUrl("`url` has a part after '#', which means nothing here; percent-encode a '#' as %23.")


def _embedded(parts: SplitResult) -> EmbeddedDirectory:
    if parts.netloc or parts.query or parts.fragment or parts.path[:1] not in ("", "/"):
        raise InvalidUrl("`url` must be embedded:// or embedded:///an/absolute/directory (three slashes), no more.")
    path = unquote(parts.path)
    if path and normpath(path) in _ROOTS:
        raise InvalidUrl("`url` names the root directory; write embedded:///a/directory, or embedded:// for none.")
    return EmbeddedDirectory(path=path or None)


def _unix(parts: SplitResult) -> Endpoint:
    path = unquote(parts.path)
    if not path.startswith("/") or path == "/" or parts.netloc.rpartition("@")[2]:
        raise InvalidUrl("`url` must name the socket's absolute path: unix:///run/redis.sock (three slashes).")
    username, password = _credentials(parts)
    return Endpoint(path=path, database=_database(parts, ""), username=username, password=password)


def _tcp(parts: SplitResult, port: int | None) -> Endpoint:
    if not parts.hostname:
        raise InvalidUrl(f"`url` names no host; write {parts.scheme}://host:{_DEFAULT_PORT}/0.")
    username, password = _credentials(parts)
    return Endpoint(
        host=parts.hostname,
        port=_DEFAULT_PORT if port is None else port,
        tls=_TLS_BY_SCHEME[parts.scheme],
        database=_database(parts, parts.path.removeprefix("/")),
        username=username,
        password=password,
    )


def _database(parts: SplitResult, in_path: str) -> int:
    options = parse_qs(parts.query, keep_blank_values=True)
    example = "unix:///path?db=0" if parts.scheme == "unix" else f"{parts.scheme}://host/0"
    # Where the '@' was forgotten, any of these may be a piece of the password, and is not repeated.
    if options.keys() - {"db"}:
        raise InvalidUrl(f"`url` has an unknown option after '?'; the only one is db. Write {example}.")
    text = options["db"][0] if "db" in options else in_path or "0"
    if not (text.isascii() and text.isdigit() and len(text) < _LONGEST_NUMBER):
        raise InvalidUrl(f"`url` names a database that is no number; write {example}.")
    return int(text)


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return username, password
