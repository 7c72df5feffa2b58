"""Entries of a stream and their ids, as every Redis and Valkey server defines them."""

import re
from collections.abc import Mapping
from typing import NamedTuple, Self

from papyra_streams.errors import InvalidEntryId

_WIRE_FORM = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)
_LARGEST_PART = 2**64 - 1


class EntryId(NamedTuple):
    """Where an entry stands in its stream: the server's milliseconds since the epoch, and a sequence number."""

    milliseconds: int
    sequence: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<milliseconds>[-<sequence>]``; both parts are unsigned 64 bit integers.

        :raises InvalidEntryId: if the text has another form
        """
        match = _WIRE_FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidEntryId(f"{text!r} is no entry id; write <milliseconds>-<sequence>, as in '1700000000000-0'.")
        entry_id = cls(int(match[1]), int(match[2] or 0))
        if max(entry_id) > _LARGEST_PART:
            raise InvalidEntryId(f"{text!r} is no entry id; each part is at most {_LARGEST_PART}.")
        return entry_id

    @property
    def seconds(self) -> float:
        """When the server gave out this id, in seconds since the epoch, if it gave it out itself."""
        return self.milliseconds / 1000

    def successor(self) -> Self:
        """Return the smallest id after this one; the largest of all is its own, and no server gives out another."""
        if self.sequence < _LARGEST_PART:
            return self._replace(sequence=self.sequence + 1)
        if self.milliseconds < _LARGEST_PART:
            return self._replace(milliseconds=self.milliseconds + 1, sequence=0)
        return self

    def predecessor(self) -> Self:
        """Return the largest id before this one; the smallest of all, which no entry has, is its own."""
        if self.sequence > 0:
            return self._replace(sequence=self.sequence - 1)
        if self.milliseconds > 0:
            return self._replace(milliseconds=self.milliseconds - 1, sequence=_LARGEST_PART)
        return self

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.sequence}"


class Entry(NamedTuple):
    """One entry as stored. ``fields`` is None where a group still lists an entry that the stream no longer has.

    A named tuple, like what else is made for each entry that is read: a frozen dataclass takes three times as long.
    """

    id: EntryId
    fields: Mapping[bytes, bytes] | None

    @property
    def size(self) -> int:
        """How many bytes its fields have, names and values."""
        return sum(len(name) + len(value) for name, value in (self.fields or {}).items())


class RawEntry(NamedTuple):
    """One entry with all its fields, in their order and however often each name stands there."""

    id: EntryId
    fields: tuple[tuple[bytes, bytes], ...]


def check_start(start_id: str) -> None:
    """Check where a group is to begin.

    :raises InvalidEntryId: if it is neither ``"0"``, ``"$"`` nor an entry id
    """
    if start_id != "$":
        EntryId.parse(start_id)
