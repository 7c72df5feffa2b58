"""What commands print: tables and lines on standard output, without anything that would change a terminal's state."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Any

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# What is piped is not to be folded.
_UNFOLDED = 100_000


def console() -> Console:
    """Return the standard output; of a terminal, with its width."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What the terminal cannot show must not keep the rest from being shown.
        sys.stdout.reconfigure(errors="backslashreplace")
    made = Console(highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = _UNFOLDED
    return made


def say(*lines: str) -> None:
    """Print lines as they are, which a terminal folds by itself."""
    out = console()
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings, numbers set to the right; None is a dash."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    console().print(made)


def _cell(value: object) -> Text:
    if isinstance(value, int):
        return Text(f"{value:,}", justify="right")
    return Text("-" if value is None else one_line(str(value)))


def as_json(report: Any) -> None:
    """Print a report, or what is made of one, as one line of JSON."""
    say(orjson.dumps(report).decode())


def one_line(text: str) -> str:
    """Show what would break the line, or that a terminal obeys, as its escape."""
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def escaped(content: bytes) -> tuple[str, bool]:
    """Show bytes, and tell whether that took escapes: of what is no text, and then of backslashes too."""
    text = content.decode(errors="surrogateescape")
    if text.isprintable():
        return text, False
    return "".join(each if each.isprintable() and each != "\\" else _escape(each) for each in text), True


def _escape(character: str) -> str:
    # A byte that is no UTF-8 stands for itself as a surrogate.
    raw = character.encode(errors="surrogateescape")
    if len(raw) == 1 and not raw.isascii():
        return f"\\x{raw[0]:02x}"
    return character.encode("unicode_escape").decode()


def moment(seconds: float) -> str:
    """Show a time since the epoch, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    except (OverflowError, ValueError, OSError):
        # Somebody else may have put any number there.
        return f"{seconds:g}"
