"""The three kinds of record Papyra keeps, and what each is called in a key and in an entry."""

from dataclasses import dataclass
from typing import Literal, get_args

from papyra_streams.errors import UnknownKind

StreamKind = Literal["events", "audits", "dead_letters"]


@dataclass(frozen=True, slots=True)
class Kind:
    """``stream`` ends the stream's key; ``record`` is the ``kind`` in each of its entries. Both are Papyra's words."""

    stream: StreamKind
    record: str


EVENTS = Kind("events", "event")
AUDITS = Kind("audits", "audit")
DEAD_LETTERS = Kind("dead_letters", "dead_letter")
KINDS = (EVENTS, AUDITS, DEAD_LETTERS)


def kind_named(name: str) -> Kind:
    """Find a kind by its stream's name.

    :raises UnknownKind: if there is none
    """
    for kind in KINDS:
        if kind.stream == name:
            return kind
    raise UnknownKind(f"There is no kind {name!r}; take one of {', '.join(map(repr, get_args(StreamKind)))}.")
