"""Which drivers meet which servers in a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from papyra_streams import drivers
from papyra_streams.errors import ConfigurationError, DriverNotInstalled, StreamsError

from .servers import EmbeddedSource, RunningServer, ServerFailed, ServerSource, programs


@dataclass(frozen=True, slots=True)
class Target:
    """One driver on one server."""

    driver_name: str
    source: ServerSource

    def __str__(self) -> str:
        return f"{self.driver_name}-{self.source.name}"


class Matrix:
    """Every chosen driver on every chosen server. Nothing is started before the first test that needs it."""

    def __init__(self, config: pytest.Config) -> None:
        self.drivers = _chosen_drivers(config.getoption("driver"))
        self.sources = _chosen_sources(config)

    @property
    def targets(self) -> list[Target]:
        """Each driver on each server, server by server."""
        return [Target(driver, source) for source in self.sources for driver in self.drivers]

    def stop(self) -> None:
        """Stop every server that was started for the run."""
        for source in self.sources:
            source.stop()


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
