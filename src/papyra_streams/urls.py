"""URLs, read once, so that every driver understands the same ones."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from posixpath import normpath
from urllib.parse import SplitResult, unquote

from papyra_streams.endpoint import (
    DEFAULT_PORT,
    DEFAULT_SENTINEL_PORT,
    ClusterNodes,
    CredentialsProvider,
    EmbeddedDirectory,
    Endpoint,
    SentinelService,
    Server,
    Tls,
)
from papyra_streams.errors import InvalidUrl

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*")
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]{0,5}))?")
_LAST_PORT = 65535
_LONGEST_NUMBER = 10
_TLS_BY_SCHEME = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_TOPOLOGIES = ("cluster", "sentinel")
_KNOWN = (
    *_TLS_BY_SCHEME,
    *(f"{scheme}+{topology}" for scheme in _TLS_BY_SCHEME for topology in _TOPOLOGIES),
    "unix",
    "embedded",
)
_SHOWN = (*_TLS_BY_SCHEME, "redis+cluster", "redis+sentinel", "unix", "embedded")
_TLS_OPTIONS = ("ca", "cert", "key")
_SENTINEL_USER, _SENTINEL_PASSWORD = "sentinel_username", "sentinel_password"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ROOTS = ("/", "//")

NO_FILES = Tls()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A URL taken apart, still percent-encoded; ``topology`` is what follows a ``+`` in its scheme."""

    scheme: str
    topology: str
    tls: bool
    addresses: str
    username: str | None
    password: str | None
    path: str
    options: dict[str, str]


def parse_url(
    url: str, *, files: Tls = NO_FILES, credentials: CredentialsProvider | None = None
) -> Server | EmbeddedDirectory:
    """Read a connection URL.

    Understood are ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` (the last letter asks for TLS),
    ``redis+cluster://host:port,host:port``, ``redis+sentinel://host:port,host:port/service`` and the like with the
    other three, ``unix:///path?db=n``, ``embedded://`` and ``embedded:///directory``. User name and password are
    percent-encoded, and so are the options after ``?``: ``db``, ``ca``, ``cert`` and ``key``, and for Sentinels that
    ask for them ``sentinel_username`` and ``sentinel_password``.

    :param files: for TLS, unless the URL names them
    :param credentials: in place of a user name and a password in the URL
    :raises InvalidUrl: if it is malformed; the message repeats nothing that may be a password
    """
    if not isinstance(url, str):
        raise InvalidUrl(f"`url` must be a string, not {type(url).__name__}.")
    _check_characters(url)
    split = _split(url)
    if split.scheme not in _KNOWN:
        raise InvalidUrl(_no_scheme(split.scheme))
    kind, _, topology = split.scheme.partition("+")
    if kind == "embedded":
        if credentials or files != NO_FILES:
            raise InvalidUrl("`url` asks for an embedded server, which takes neither `credentials` nor TLS.")
        return _embedded(split)
    parts = _parts(split, kind, topology)
    template = _template(parts, files, credentials)
    if kind == "unix":
        return _unix(parts, template)
    if topology == "cluster":
        return _cluster(parts, template)
    return _sentinel(parts, template) if topology == "sentinel" else _tcp(parts, template)


def without_password(url: str) -> str:
    """Show a URL that `parse_url` accepts, with three stars for each password."""
    parts = _split(url)
    credentials, at, address = parts.netloc.rpartition("@")
    username, colon, _ = credentials.partition(":")
    options = "&".join(map(_without_secret, parts.query.split("&")))
    if not colon and options == parts.query:
        return url
    return parts._replace(netloc=f"{username}{colon and ':***'}{at}{address}", query=options).geturl()


def _without_secret(option: str) -> str:
    name, _, _ = option.partition("=")
    return f"{name}=***" if unquote(name) == _SENTINEL_PASSWORD else option


def _no_scheme(scheme: str) -> str:
    begins = repr(scheme + "://") if scheme else "no scheme"
    return f"`url` begins with {begins}; write one of {', '.join(f'{one}://' for one in _SHOWN)}."


def _check_characters(url: str) -> None:
    # A URL that comes from a file comes with the end of its line.
    if _CONTROL.search(url):
        raise InvalidUrl("`url` contains a control character; percent-encode it (a tab is %09), or take it out.")
    if url != url.strip():
        raise InvalidUrl("`url` begins or ends with a blank; take it out.")


def _split(url: str) -> SplitResult:
    # Python's own allows brackets around the first host alone, since 3.11.12; here are several hosts, and passwords.
    rest, _, fragment = url.partition("#")
    rest, _, query = rest.partition("?")
    scheme, colon, path = rest.partition(":")
    if not (colon and _SCHEME.fullmatch(scheme)):
        scheme, path = "", rest
    netloc = ""
    if path.startswith("//"):
        netloc, slash, path = path.removeprefix("//").partition("/")
        path = f"{slash}{path}"
    return SplitResult(scheme.lower(), netloc, path, query, fragment)


def _unreadable() -> InvalidUrl:
    return InvalidUrl(
        "`url` is malformed: host or port cannot be read."
        " The port is a number up to 65535; percent-encode user name and password, and write an '@' before the host."
    )


def _parts(split: SplitResult, kind: str, topology: str) -> _Parts:
    # A raw "/", "?" or "#" in a password ends the address, and what follows would be shown as if it were no secret.
    if split.netloc and "@" in split.path + split.query + split.fragment:
        raise InvalidUrl("`url` has an '@' after its address; percent-encode the user name and the password.")
    if split.fragment:
        raise InvalidUrl("`url` has a part after '#', which means nothing here; percent-encode a '#' as %23.")
    credentials, _, addresses = split.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    if topology and "@" in credentials:
        raise InvalidUrl("`url` has an '@' too many: name the user and the password once, before the first host.")
    if not addresses and kind != "unix":
        raise _no_host(split.scheme)
    given = _options(split.query)
    _check_options([name for name, _ in given], split.scheme, topology)
    return _Parts(
        scheme=split.scheme,
        topology=topology,
        tls=_TLS_BY_SCHEME.get(kind, False),
        addresses=addresses,
        username=unquote(username) or None,
        password=unquote(password) or None,
        path=split.path,
        options=dict(given),
    )


def _options(query: str) -> list[tuple[str, str]]:
    # Not as forms are read, where a "+" stands for a blank: in a password it stands for itself.
    pairs = (one.partition("=") for one in query.split("&") if one)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _check_options(given: Sequence[str], scheme: str, topology: str) -> None:
    known = ["db", *_TLS_OPTIONS]
    if topology == "sentinel":
        known += [_SENTINEL_USER, _SENTINEL_PASSWORD]
    # Where the '@' was forgotten, any of these may be a piece of the password, and is not repeated.
    if set(given) - set(known):
        raise InvalidUrl(
            f"`url` has an unknown option after '?'; there are {', '.join(known)}. Write {_example(scheme)}."
        )
    if len(set(given)) < len(given):
        raise InvalidUrl("`url` has an option twice after '?'; leave one out.")


def _template(parts: _Parts, files: Tls, credentials: CredentialsProvider | None) -> Endpoint:
    """Return what all servers that the URL leads to have in common."""
    if credentials and (parts.username or parts.password):
        raise InvalidUrl("`url` has a user name or a password, and there is `credentials` too; leave one out.")
    return Endpoint(
        tls=_tls(parts, files),
        database=_database(parts),
        username=parts.username,
        password=parts.password,
        credentials=credentials,
    )


def _tls(parts: _Parts, files: Tls) -> Tls | None:
    ca, cert, key = (parts.options.get(name) or None for name in _TLS_OPTIONS)
    in_url = Tls(ca=ca, cert=cert, key=key)
    if NO_FILES not in (files, in_url):
        raise InvalidUrl("`url` names files for TLS, and so do the settings `ca`, `cert` or `key`; leave one out.")
    chosen = files if in_url == NO_FILES else in_url
    if chosen != NO_FILES and not parts.tls:
        raise InvalidUrl("`ca`, `cert` and `key` are for TLS, which `url` does not ask for; write rediss://.")
    if chosen.key and not chosen.cert:
        raise InvalidUrl("`key` belongs to a certificate; name its file as `cert`.")
    for name in _TLS_OPTIONS:
        path = getattr(chosen, name)
        if path and not os.access(path, os.R_OK):
            raise InvalidUrl(f"`{name}` names a file that cannot be read: {path!r}.")
    return chosen if parts.tls else None


def _database(parts: _Parts) -> int:
    found = {_number(parts, text) for text in (_database_in_path(parts), parts.options.get("db")) if text is not None}
    if len(found) > 1:
        raise InvalidUrl("`url` names two databases, one in its path and one as `db`; leave one out.")
    return found.pop() if found else 0


def _number(parts: _Parts, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < _LONGEST_NUMBER):
        raise InvalidUrl(f"`url` names a database that is no number; write {_example(parts.scheme)}.")
    return int(text)


def _database_in_path(parts: _Parts) -> str | None:
    path = parts.path.removeprefix("/")
    if parts.topology == "sentinel":
        path = path.partition("/")[2]
    return None if parts.topology == "cluster" or parts.scheme == "unix" else path or None


def _example(scheme: str) -> str:
    if scheme == "unix":
        return "unix:///path?db=0"
    if scheme.endswith("+cluster"):
        return f"{scheme}://host,host"
    return f"{scheme}://host,host/service" if scheme.endswith("+sentinel") else f"{scheme}://host/0"


def _embedded(split: SplitResult) -> EmbeddedDirectory:
    if split.netloc or split.query or split.fragment or split.path[:1] not in ("", "/"):
        raise InvalidUrl("`url` must be embedded:// or embedded:///an/absolute/directory (three slashes), no more.")
    path = unquote(split.path)
    if path and normpath(path) in _ROOTS:
        raise InvalidUrl("`url` names the root directory; write embedded:///a/directory, or embedded:// for none.")
    return EmbeddedDirectory(path=path or None)


def _unix(parts: _Parts, template: Endpoint) -> Endpoint:
    path = unquote(parts.path)
    if not path.startswith("/") or path == "/" or parts.addresses:
        raise InvalidUrl("`url` must name the socket's absolute path: unix:///run/redis.sock (three slashes).")
    return template.over(path)


def _tcp(parts: _Parts, template: Endpoint) -> Endpoint:
    if "," in parts.addresses:
        raise InvalidUrl(f"`url` names several hosts; write {parts.scheme}+cluster:// or {parts.scheme}+sentinel://.")
    return template.at(*_address(parts, parts.addresses, DEFAULT_PORT))


def _cluster(parts: _Parts, template: Endpoint) -> ClusterNodes:
    if template.database or parts.path.removeprefix("/") not in ("", "0"):
        raise InvalidUrl("`url` names a database, but a cluster has number 0 alone; use `prefix` to keep data apart.")
    return ClusterNodes(nodes=tuple(template.at(*each) for each in _all_addresses(parts, DEFAULT_PORT)))


def _sentinel(parts: _Parts, template: Endpoint) -> SentinelService:
    name = unquote(parts.path.removeprefix("/").partition("/")[0])
    if not name:
        raise InvalidUrl(f"`url` names no service; write {_example(parts.scheme)}, with its name in the Sentinels.")
    there = Endpoint(
        tls=template.tls,
        username=parts.options.get(_SENTINEL_USER),
        password=parts.options.get(_SENTINEL_PASSWORD),
    )
    addresses = _all_addresses(parts, DEFAULT_SENTINEL_PORT)
    return SentinelService(name=name, sentinels=tuple(there.at(*each) for each in addresses), primary=template)


def _all_addresses(parts: _Parts, default_port: int) -> Iterable[tuple[str, int]]:
    return [_address(parts, one, default_port) for one in parts.addresses.split(",")]


def _address(parts: _Parts, text: str, default_port: int) -> tuple[str, int]:
    host, port = _host_and_port(text, default_port)
    if not host or host != host.strip():
        raise _no_host(parts.scheme)
    return host, port


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    # A ValueError would quote what may be a part of the password; so it is not to be the context.
    with suppress(ValueError):
        if match and (port := int(match["port"] or default_port)) <= _LAST_PORT:
            return str(IPv6Address(match["v6"])) if match["v6"] else match["name"].lower(), port
    raise _unreadable()


def _no_host(scheme: str) -> InvalidUrl:
    return InvalidUrl(f"`url` names no host; write {_example(scheme)}.")
