"""The command ``papyra-streams``."""

import typer

from .demo import demo

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(demo)


@app.callback()
def _commands() -> None:
    """Redis and Valkey Streams persistence for the Papyra actor framework."""


__all__ = ["app"]
