"""How a command is run: with a backend that is closed at the end, and with each error told in one line."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import wraps
from inspect import Parameter
from typing import Any, Concatenate, NoReturn, TypeVar, get_type_hints

import anyio
import typer

from papyra_streams.errors import StreamsError
from papyra_streams.persistence import RedisStreamsPersistence

from .backend import Place, Retention, chosen
from .printing import one_line

# As for an option that there is not.
_FAILED = 2

ModelT = TypeVar("ModelT", Place, Retention)

Command = Callable[Concatenate[RedisStreamsPersistence, ...], Awaitable[int]]
"""Works on a backend, and returns the exit status."""


def on_backend(command: Command) -> Callable[..., None]:
    """Make a command of an async function, with the options that say on which backend it works."""
    return _with_options(command, Place)


def on_backend_with_retention(command: Command) -> Callable[..., None]:
    """Make a command like `on_backend`, with the options that say what is to be kept as well."""
    return _with_options(command, Place, Retention)


def _with_options(command: Command, *models: type[Place] | type[Retention]) -> Callable[..., None]:
    added = [option for model in models for option in _options(model)]

    @wraps(command)
    def run(**given: Any) -> None:
        shared = {each.name: given.pop(each.name) for each in added}
        with _errors_in_one_line():
            backend = chosen(_only(Place, shared), _only(Retention, shared))
            status = anyio.run(_work, command, backend, given)
        if status:
            raise typer.Exit(status)

    own = list(inspect.signature(command).parameters.values())[1:]
    # This is where Typer looks for the options.
    run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]  # a function may have one
    run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    return run


def _options(model: type[Place] | type[Retention]) -> Iterator[Parameter]:
    hints = get_type_hints(model, include_extras=True)
    for each in fields(model):
        yield Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])


def _only(model: type[ModelT], given: dict[str, Any]) -> ModelT:
    return model(**{each.name: given[each.name] for each in fields(model) if each.name in given})


async def _work(command: Command, backend: RedisStreamsPersistence, options: dict[str, Any]) -> int:
    try:
        return await command(backend, **options)
    finally:
        await backend.aclose()


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        raise
    except StreamsError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(reason: str) -> NoReturn:
    typer.echo(f"error: {one_line(reason)}", err=True)
    raise typer.Exit(_FAILED) from None
