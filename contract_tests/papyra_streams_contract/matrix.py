"""Which drivers meet which servers in a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from papyra_streams import drivers
from papyra_streams.errors import ConfigurationError, DriverNotInstalled, StreamsError, UnsupportedOperation
from papyra_streams.ports import Timeouts

from .servers import ServerFailed, ServerSource, target_of
from .sources import EmbeddedSource, RunningServer, programs
from .topologies import TOPOLOGIES, arranged


@dataclass(frozen=True, slots=True)
class Target:
    """One driver on servers of one topology."""

    driver_name: str
    source: ServerSource

    def __str__(self) -> str:
        return f"{self.driver_name}-{self.source.name}"

    @property
    def refusal(self) -> str | None:
        """Why the driver does not serve the topology; None if it does."""
        return refusal_of(self.driver_name, self.source.example)


class Matrix:
    """Every chosen driver on every chosen server in every chosen topology.

    Nothing is started before the first test that needs it.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.drivers = _chosen_drivers(config.getoption("driver"))
        self._singles = _chosen_sources(config)
        self.sources = _arranged(self._singles, config.getoption("topology"))

    @property
    def targets(self) -> list[Target]:
        """Each driver on each server, server by server."""
        return [Target(driver, source) for source in self.sources for driver in self.drivers]

    def stop(self) -> None:
        """Stop every server that was started for the run."""
        for source in [*self.sources, *self._singles]:
            source.stop()


def _arranged(sources: Sequence[ServerSource], named: Sequence[str]) -> list[ServerSource]:
    chosen = dict.fromkeys(named) or TOPOLOGIES[:1]
    if unknown := set(chosen) - set(TOPOLOGIES):
        raise pytest.UsageError(f"--topology {', '.join(unknown)}: the topologies are {', '.join(TOPOLOGIES)}.")
    try:
        return [arranged(source, topology) for source in sources for topology in chosen]
    except ServerFailed as error:
        raise pytest.UsageError(str(error)) from error


@cache
def refusal_of(driver_name: str, url: str) -> str | None:
    """Return why a driver does not serve what a URL leads to; None if it does."""
    try:
        drivers.load(driver_name)(target_of(url), Timeouts())
    except UnsupportedOperation as error:
        return str(error)
    return None


def _chosen_drivers(named: Sequence[str]) -> list[str]:
    if not named:
        return [name for name in drivers.names() if _is_installed(name)]
    for name in named:
        try:
            drivers.load(name)
        except ConfigurationError as error:
            raise pytest.UsageError(f"--driver {name}: {error}") from error
    return list(dict.fromkeys(named))


def _is_installed(name: str) -> bool:
    try:
        drivers.load(name)
    except DriverNotInstalled:
        return False
    return True


def _chosen_sources(config: pytest.Config) -> list[ServerSource]:
    directories, urls = config.getoption("servers"), config.getoption("server_url")
    images = config.getoption("testcontainers")
    embedded = _embedded()
    try:
        sources = [source for directory in directories for source in programs(Path(directory))]
        sources += [RunningServer(url, embedded) for url in urls]
    except (ServerFailed, StreamsError) as error:
        raise pytest.UsageError(str(error)) from error
    if images:
        # The suite runs without testcontainers, unless containers are asked for.
        from .containers import ContainerImage

        sources += [ContainerImage(image) for image in images]
    return sources or ([embedded] if embedded else [])


def _embedded() -> EmbeddedSource | None:
    try:
        return EmbeddedSource(drivers.embedded_servers())
    except (ValueError, ConfigurationError):
        return None
