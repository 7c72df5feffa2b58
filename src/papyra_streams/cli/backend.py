"""The backend that a command works on: that of the settings, or one that its options describe."""

import os
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from papyra import monkay
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.config import RedisStreamsConfig
from papyra_streams.errors import ConfigurationError
from papyra_streams.persistence import RedisStreamsPersistence

SETTINGS_VARIABLE = "PAPYRA_SETTINGS_MODULE"
_REMEDY = f"Set {SETTINGS_VARIABLE}, and PYTHONPATH so that it can be imported; or give --url."


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the streams are."""

    url: Annotated[
        str | None,
        typer.Option(
            help=f"The server, such as redis://localhost:6379/0. Default: what {SETTINGS_VARIABLE} names.",
            show_default=False,
        ),
    ] = None
    prefix: Annotated[
        str | None, typer.Option(help="With --url: begins every key. Default: papyra.", show_default=False)
    ] = None
    system_id: Annotated[
        str | None, typer.Option(help="With --url: the actor system. Default: local.", show_default=False)
    ] = None
    partitions: Annotated[
        int | None, typer.Option(help="With --url: how many there are. Default: 1.", show_default=False)
    ] = None
    driver: Annotated[
        str | None,
        typer.Option(
            help="With --url: the client library. Default: PAPYRA_STREAMS_DRIVER, else redis.", show_default=False
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What reads show; the rest is old."""

    max_records: Annotated[
        int | None, typer.Option(help="With --url: keep so many of each stream.", show_default=False)
    ] = None
    max_age_seconds: Annotated[
        float | None, typer.Option(help="With --url: keep what is no older.", show_default=False)
    ] = None
    max_total_bytes: Annotated[
        int | None, typer.Option(help="With --url: keep so many bytes of each stream.", show_default=False)
    ] = None


def chosen(place: Place, retention: Retention) -> RedisStreamsPersistence:
    """Return the backend of the settings, or the one that the options describe.

    :raises ConfigurationError: if there is none, or an option cannot be used
    """
    place_given = {name: value for name, value in asdict(place).items() if value is not None}
    if place.url is not None:
        return RedisStreamsPersistence(
            RedisStreamsConfig(**place_given), retention_policy=RetentionPolicy(**asdict(retention))
        )
    for name, value in (asdict(place) | asdict(retention)).items():
        if value is not None:
            # Half of it from here and half from the settings: nobody could tell which streams that are.
            raise ConfigurationError(f"--{name.replace('_', '-')} is for a backend that is given with --url.")
    return _of_settings()


def _of_settings() -> RedisStreamsPersistence:
    module = os.environ.get(SETTINGS_VARIABLE)
    if not module:
        raise ConfigurationError(f"{SETTINGS_VARIABLE} is not set, so that no backend is named. {_REMEDY}")
    try:
        backend = monkay.settings.persistence
    except Exception as error:  # the module is the user's, and may raise anything
        raise ConfigurationError(
            f"{SETTINGS_VARIABLE}={module} cannot be used: {type(error).__name__}: {str(error).rstrip('.')}. {_REMEDY}"
        ) from error
    if not isinstance(backend, RedisStreamsPersistence):
        # Papyra's own backend has the same name.
        kind = f"{type(backend).__module__}.{type(backend).__qualname__}"
        raise ConfigurationError(
            f"The backend of {SETTINGS_VARIABLE}={module} is a {kind}, for which there is `papyra persistence`."
            " Make it a papyra_streams.RedisStreamsPersistence, or give --url."
        )
    return backend
