"""The command ``papyra-streams``."""

import typer

from . import quarantine
from .compact import compact
from .demo import demo
from .recover import recover
from .scan import scan

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
for _command in (demo, scan, recover, compact):
    app.command()(_command)
app.add_typer(quarantine.app, name="quarantine")


@app.callback()
def _commands() -> None:
    """Redis and Valkey Streams persistence for the Papyra actor framework."""


__all__ = ["app"]
