"""``papyra-streams demo``: what the backend does, shown and checked on a real server."""

from typing import Annotated

import anyio
import typer
from rich.console import Console

from papyra_streams.errors import StreamsError

from .demonstration import Story, play

_EMBEDDED = "embedded://"
# Narrow enough for a mail; on a wider terminal the lines stay short.
_WIDTH = 80


def demo(
    *,
    driver: Annotated[
        str | None,
        typer.Option(help="The client library. Default: PAPYRA_STREAMS_DRIVER, else redis.", show_default=False),
    ] = None,
    url: Annotated[
        str,
        typer.Option(
            help="The server, such as redis://localhost:6379/0. Default: one that is thrown away.", show_default=False
        ),
    ] = _EMBEDDED,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the keys on the server given by --url.")] = False,
) -> None:
    """Show what the backend does on a real server, and check it.

    Its keys have a prefix of their own, and are removed at the end. Exit status: 0 if every check passes, 1 if one
    does not, 2 if the demo cannot be run to its end.
    """
    if keep and url == _EMBEDDED:
        raise typer.BadParameter("the default server is thrown away; name another one with --url.", param_hint="--keep")
    story = Story(_console())
    try:
        anyio.run(lambda: play(story, url=url, driver=driver, keep=keep))
    except StreamsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    if not story.is_true:
        raise typer.Exit(1)


def _console() -> Console:
    console = Console(highlight=False, emoji=False)
    console.width = min(console.width, _WIDTH)
    return console
