"""The documents quote the log, word for word, for those who look for a line that they have found there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "pages"
PLACEHOLDER = re.compile(r"%[sdr]")
# The rows of the table: a level, then the line.
ROW = re.compile(r"^\| (?:WARNING|ERROR)[^|]*\| `([^`]+)` \|", re.MULTILINE)


def lines_of(program: ast.AST) -> Iterator[str]:
    """Return each text that is given to the logger."""
    for node in ast.walk(program):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger")), args=arguments):
                for argument in arguments:
                    match argument:
                        case ast.Constant(value=str(text)):
                            yield text


LINES = sorted(
    {
        line
        for folder in ("src", "adapters")
        for path in (ROOT / folder).rglob("*.py")
        for line in lines_of(ast.parse(path.read_text(encoding="utf-8")))
    }
)


def pattern(line: str) -> re.Pattern[str]:
    return re.compile("<[^>]+>".join(map(re.escape, PLACEHOLDER.split(line))))


def test_there_are_lines() -> None:
    assert len(LINES) >= 10


@pytest.mark.parametrize("line", LINES)
def test_every_line_of_the_log_is_in_the_documents(line: str) -> None:
    quoted = re.compile(f"`{pattern(line).pattern}`")
    assert [page.name for page in PAGES.glob("*.md") if quoted.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    "row",
    [
        row
        for page in ("writing.md", "subscriptions.md")
        for row in ROW.findall((PAGES / page).read_text(encoding="utf-8"))
    ],
)
def test_every_line_in_the_table_is_logged(row: str) -> None:
    assert any(pattern(line).fullmatch(row) for line in LINES)
