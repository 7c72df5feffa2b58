"""The sizes, as rows of a table."""

from collections.abc import Iterator

from benchmarks import bars
from benchmarks.rounds import Samples

from .records import APPENDED, GROWTH, JSON, SNAPSHOT, USAGE

_QUANTITIES = (JSON, GROWTH, USAGE, APPENDED, SNAPSHOT)


def rows(samples: Samples) -> Iterator[tuple[str, ...]]:
    """Yield the head, and a row for each thing that has a size; nothing where none was measured."""
    if found := samples.found.get(bars.BYTES):
        yield ("bytes of each", *_QUANTITIES)
    for name, quantities in (found or {}).items():
        yield (name, *(f"{quantities[each][0]:,.0f}" if each in quantities else "" for each in _QUANTITIES))
