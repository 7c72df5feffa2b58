"""The drivers there are: entry points of the group `papyra_streams.drivers`, loaded only when they are chosen."""

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import cast

from .endpoint import Server
from .errors import ConfigurationError, DriverNotInstalled, InvalidValue, UnknownDriver
from .ports import EmbeddedServers, SpoolFactory, StreamStore, Timeouts
from .tls import warn_if_unverified

DriverFactory = Callable[[Server, Timeouts], StreamStore]
"""What an entry point names: builds a store without connecting. A driver that cannot reach a cluster, or what Sentinels
watch, raises `UnsupportedOperation` and says why."""

_DRIVERS = "papyra_streams.drivers"
_CLIENTS = "papyra_streams.clients"
_SERVERS = "papyra_streams.servers"
_SPOOLS = "papyra_streams.spools"
_OURS = "papyra-streams"


def names() -> list[str]:
    """Return the name of every driver that some installed distribution offers, in order."""
    return sorted({point.name for point in entry_points(group=_DRIVERS)})


def load(name: str) -> DriverFactory:
    """Import a driver.

    :raises UnknownDriver: if nobody offers it
    :raises DriverNotInstalled: if its client library is missing or too old
    :raises ConfigurationError: if two distributions offer it
    """
    point = _only(name, entry_points(group=_DRIVERS, name=name))
    return cast("DriverFactory", _import(point))


def adopt(client: object) -> tuple[str, Server]:
    """Return the driver of a client that the user has built, and where it leads; the client itself is not used.

    Log a warning if the client lets others pass for its servers.

    :raises InvalidValue: if no driver knows such clients, or this one cannot be followed
    :raises ConfigurationError: if two distributions know them
    """
    known_libraries = {point.name for point in entry_points(group=_CLIENTS)}
    # It may be of a class that the user derived from the library's.
    libraries = [kind.__module__.partition(".")[0] for kind in type(client).__mro__]
    library = next((name for name in libraries if name in known_libraries), libraries[0])
    points = entry_points(group=_CLIENTS, name=library)
    if not points:
        known = ", ".join(sorted(known_libraries))
        raise InvalidValue(f"`client` must be a client of one of {known}, not a {type(client).__name__} of {library}.")
    server_of = cast("Callable[[object], Server]", _sole(f"What reads clients of {library!r}", points).load())
    server = server_of(client)
    warn_if_unverified(server)
    return library, server


def embedded_servers() -> EmbeddedServers:
    """Import what starts the servers behind ``embedded://`` URLs.

    :raises ConfigurationError: if no distribution offers it, or two do
    """
    load = _part("The embedded server", entry_points(group=_SERVERS, name="embedded"))
    return cast("Callable[[], EmbeddedServers]", load)()


def spool() -> SpoolFactory:
    """Import what keeps records on local disk.

    :raises ConfigurationError: if no distribution offers it, or two do
    """
    return cast("SpoolFactory", _part("The spool", entry_points(group=_SPOOLS, name="sqlite")))


def _part(what: str, points: EntryPoints) -> object:
    if not points:
        raise ConfigurationError(
            f"{what} is not installed, so the installation is not whole: pip install --force-reinstall {_OURS}."
        )
    return _sole(what, points).load()


def _only(name: str, points: Iterable[EntryPoint]) -> EntryPoint:
    found = list(points)
    if not found:
        raise UnknownDriver(
            f"There is no driver {name!r}; there are {', '.join(map(repr, names()))}."
            " Choose one of these, or install the distribution that brings it;"
            f" for all of ours: pip install '{_OURS}[all]'."
        )
    return _sole(f"The driver {name!r}", found)


def _sole(what: str, points: Iterable[EntryPoint]) -> EntryPoint:
    first, *others = points
    if others:
        owners = ", ".join(sorted(_distribution(point) for point in (first, *others)))
        raise ConfigurationError(f"{what} is offered more than once, by {owners}; uninstall all but one.")
    return first


def _import(point: EntryPoint) -> object:
    try:
        return point.load()
    except ImportError as error:
        # Only the client library, whose name the driver bears, may lack a module or a name in one; anything else is a
        # fault to be seen.
        if (error.name or "").partition(".")[0] != point.name:
            raise
        raise DriverNotInstalled(
            f"The driver {point.name!r} needs the package {point.name!r}, which is not installed, or too old:"
            f" pip install --upgrade '{_distribution(point)}[{point.name}]'. Installed are {_usable() or 'no others'}."
        ) from error


def _usable() -> str:
    usable = []
    for point in entry_points(group=_DRIVERS):
        try:
            point.load()
        except Exception:  # noqa: BLE001, S112 -- what is wrong with others is not what is being reported
            continue
        usable.append(repr(point.name))
    return ", ".join(sorted(usable))


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else _OURS
