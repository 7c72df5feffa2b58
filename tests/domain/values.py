"""Values a payload may hold: what JSON has words for, what Papyra's own backend can store too, and anything at all."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter

Values = st.SearchStrategy[Any]


class Colour(Enum):
    """An enumeration whose members are no JSON values by themselves."""

    RED = "red"
    NONE = None
    LIMITLESS = float("inf")


class Level(IntEnum):
    """An enumeration whose members are integers too."""

    LOW = 1


class Word(str):
    """Text of a type of its own."""

    __slots__ = ()


class Amount(float):
    """A number of a type of its own, as numpy's float64 is one."""

    __slots__ = ()


class Count(int):
    """A whole number of a type of its own."""


class Point(NamedTuple):
    """A tuple with names."""

    x: Any
    y: Any


@dataclass
class Box:
    """A dataclass that holds anything, itself too."""

    content: Any


class Unspeakable:
    """An object all of whose words fail."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no items")

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:  # noqa: FBT001 -- as hypothesis calls it
        printer.text("Unspeakable()")


class Unreadable(Mapping[str, Any]):
    """A mapping that fails as soon as it is looked into."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no items")

    def __len__(self) -> int:
        raise RuntimeError("no length")


texts = st.text()
broken_texts = st.text(st.characters(categories=["Cs", "Lu", "Cc"]))
finite = st.floats(allow_nan=False, allow_infinity=False)
plain: Values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)
epoch_times = st.floats(1e9, 4e9) | st.integers(10**9, 4 * 10**9)

spoken: Values = (
    st.binary(max_size=8)
    | st.frozensets(st.integers(), max_size=1)
    | st.builds(PurePosixPath, st.just("/var/lib"))
    | st.just(datetime(2024, 2, 29, 12, 30))  # noqa: DTZ001 -- a payload may hold naive times
    | st.just(date(2024, 2, 29))
    | st.decimals(allow_nan=False, places=2)
    | st.builds(uuid.UUID, int=st.integers(0, 2**128 - 1))
    | st.builds(complex, st.integers(0, 9), st.integers(0, 9))
    | st.sampled_from([Level.LOW, Amount(1.5), Word("word"), Count(7)])
)
"""Leaves that JSON has no words for, and that Papyra's own backend stores as text or as what they are a subclass of."""

distinct_keys = texts | st.integers().map(lambda n: n * 2 + 1)
_by_papyra: Values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts | spoken,
    lambda inner: (
        st.lists(inner) | st.builds(Box, inner) | st.builds(Point, inner, inner) | st.dictionaries(distinct_keys, inner)
    ),
    max_leaves=15,
)


def _keys_stay_distinct(value: Any) -> bool:
    if isinstance(value, dict):
        return len({str(key) for key in value}) == len(value) and all(map(_keys_stay_distinct, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_keys_stay_distinct, value))
    return _keys_stay_distinct(value.content) if isinstance(value, Box) else True


stored_by_papyra = _by_papyra.filter(_keys_stay_distinct)
"""What Papyra's own backend can store without losing a part."""

_huge = st.integers(13_990, 20_000).map(lambda bits: 1 << bits)
odd_leaves: Values = (
    st.floats()
    | _huge
    | _huge.map(lambda number: -number)
    | broken_texts
    | st.sampled_from([*Colour, ..., Box, object(), Decimal("NaN"), Amount("nan")])
    | st.builds(Unspeakable)
    | st.builds(Unreadable)
    | st.builds(RuntimeError, texts)
    | st.binary(max_size=4).map(bytearray)
)
_keys: Values = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.sampled_from(["1", "null", "true", Colour.RED, Level.LOW, Word("1"), Unspeakable(), PurePosixPath("1")])
    | _huge
    | broken_texts
    | st.binary(max_size=2)
    | st.tuples(st.integers())
)


def _containing_itself(container: list[Any] | dict[Any, Any] | Box) -> Any:
    match container:
        case list():
            container.append(container)
        case dict():
            container["self"] = [container]
        case Box():
            container.content = [container.content, container]
    return container


_wrap: Callable[[Values], Values] = lambda inner: (  # noqa: E731
    st.lists(inner)
    | st.dictionaries(_keys, inner)
    | st.builds(Box, inner)
    | st.builds(Point, inner, inner)
    | st.dictionaries(texts, inner).map(MappingProxyType)
    | (st.lists(inner) | st.dictionaries(texts, inner) | st.builds(Box, inner)).map(_containing_itself)
    | st.lists(inner).map(iter)
)
anything: Values = st.recursive(plain | spoken | odd_leaves, _wrap, max_leaves=15)
"""Whatever Python can hold."""
