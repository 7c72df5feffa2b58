"""What the demo tells, and the checks it makes as it goes."""

from collections.abc import Iterable, Sequence
from textwrap import fill

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_INDENT = 2
_VERDICT = 7


class Story:
    """Prints chapters, and remembers which of their checks failed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapters = 0
        self._checks = 0
        self._failed: list[str] = []

    @property
    def is_true(self) -> bool:
        """Whether every check has passed so far."""
        return not self._failed

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        self._console.print()
        self._console.print(Text(f"{self._chapters}. {title}", style="bold"))

    def say(self, *sentences: str) -> None:
        """Tell what happens."""
        self._console.print(self._paragraph(" ".join(sentences), indent=_INDENT))

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show rows, with numbers set to the right."""
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(Text(str(cell), justify="right" if isinstance(cell, int) else "left") for cell in row))
        self._console.print()
        self._console.print(Padding(table, (0, 0, 0, _INDENT), expand=False))
        self._console.print()

    def check(self, what: str, found: object, expected: object) -> None:
        """Compare what was found with what must be true."""
        self._checks += 1
        if found == expected:
            self._verdict("ok", "green", f"{what}: {found}")
        else:
            self._fail(f"{what}: expected {expected}, found {found}")

    def claim(self, what: str, *, holds: bool) -> None:
        """Make a check that has no number to show."""
        self._checks += 1
        if holds:
            self._verdict("ok", "green", what)
        else:
            self._fail(f"not so: {what}")

    def end(self) -> None:
        """Sum up."""
        self._console.print()
        if self.is_true:
            self._console.print(Text(f"All {self._checks} checks passed.", style="bold green"))
            return
        self._console.print(Text(f"{len(self._failed)} of {self._checks} checks failed:", style="bold red"))
        for claim in self._failed:
            self.say(claim)

    def _fail(self, claim: str) -> None:
        self._failed.append(claim)
        self._verdict("WRONG", "bold red", claim)

    def _verdict(self, verdict: str, style: str, claim: str) -> None:
        line = self._paragraph(f"{verdict:<{_VERDICT}}{claim}", indent=_INDENT + _VERDICT)
        line.stylize(style, _INDENT, _INDENT + len(verdict))
        self._console.print(line)

    def _paragraph(self, text: str, *, indent: int) -> Text:
        # rich would fill its lines with blanks up to the full width.
        return Text(
            fill(
                text,
                self._console.width,
                initial_indent=" " * _INDENT,
                subsequent_indent=" " * indent,
                break_on_hyphens=False,
            )
        )
