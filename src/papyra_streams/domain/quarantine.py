"""From an entry of a quarantine to what it says; what somebody else put there is shown as far as it goes."""

import base64
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from .entries import RawEntry
from .groups import QuarantinedEntry
from .identifiers import PartitionedId

# A list of raw parts, since the packed strings are the fields' bytes, which need not be UTF-8.
_PARTS = msgspec.msgpack.Decoder(list[msgspec.Raw])

# How long the head of a packed string is, by its first byte; one of up to 31 bytes has a head of one byte.
_SHORT = range(0xA0, 0xC0)
_HEADS = {0xD9: 2, 0xDA: 3, 0xDB: 5, 0xC4: 2, 0xC5: 3, 0xC6: 5}

# A server counts in 64 bits; Python refuses numbers of very many digits.
_MOST_DIGITS = 19

_OWN = b"field:"


def quarantined(entry: RawEntry, number: int = 0) -> QuarantinedEntry:
    """Read an entry of a partition's quarantine. What it does not say, or not so as to be understood, is empty or 0."""
    said = {name: value for name, value in entry.fields if not name.startswith(_OWN)}
    moment = _number(said.get(b"timestamp", b""))
    return QuarantinedEntry(
        id=str(PartitionedId(entry.id, number)),
        stream=_text(said, b"source"),
        source_id=_text(said, b"id"),
        reason=_text(said, b"reason"),
        quarantined_at=entry.id.seconds if moment is None else moment,
        group=_text(said, b"group"),
        attempts=_count(said.get(b"attempts", b"")),
        error=_text(said, b"error"),
        fields=tuple(_packed(said[b"fields"]) if b"fields" in said else _own(entry.fields)),
    )


def exported(entry: QuarantinedEntry) -> dict[str, Any]:
    """Return it as JSON takes it: each field a pair; bytes that are not UTF-8 as ``{"base64": "..."}``."""
    row = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
    return row | {"fields": [[_shown(name), _shown(value)] for name, value in entry.fields]}


def _shown(content: bytes) -> str | dict[str, str]:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _own(fields: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    return ((name.removeprefix(_OWN), value) for name, value in fields if name.startswith(_OWN))


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode(errors="replace")


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _count(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else 0


def _packed(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    try:
        words = iter([_content(bytes(part)) for part in _PARTS.decode(packed)])
    except (msgspec.DecodeError, LookupError):
        return iter(())
    return zip(words, words, strict=False)


def _content(packed: bytes) -> bytes:
    """Return what a packed string holds.

    :raises LookupError: if it is none
    """
    head = 1 if packed[0] in _SHORT else _HEADS[packed[0]]
    return packed[head:]
