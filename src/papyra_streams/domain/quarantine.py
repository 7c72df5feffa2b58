"""From an entry of a quarantine to what it says; what somebody else put there is shown as far as it goes."""

import math
from collections.abc import Mapping

import msgspec

from .entries import Entry
from .groups import QuarantinedEntry

# A list of raw parts, since the packed strings are the fields' bytes, which need not be UTF-8.
_PARTS = msgspec.msgpack.Decoder(list[msgspec.Raw])

# How long the head of a packed string is, by its first byte; one of up to 31 bytes has a head of one.
_HEADS = {0xD9: 2, 0xDA: 3, 0xDB: 5, 0xC4: 2, 0xC5: 3, 0xC6: 5}

# A server counts in 64 bits; Python refuses numbers of very many digits.
_MOST_DIGITS = 19


def quarantined(entry: Entry) -> QuarantinedEntry:
    """Read an entry of a quarantine. What it does not say, or not in a way to be understood, is empty or 0."""
    fields = entry.fields or {}
    moment = _number(fields.get(b"timestamp", b""))
    return QuarantinedEntry(
        id=str(entry.id),
        source_id=_text(fields, b"id"),
        reason=_text(fields, b"reason"),
        quarantined_at=entry.id.seconds if moment is None else moment,
        group=_text(fields, b"group"),
        attempts=_count(fields.get(b"attempts", b"")),
        error=_text(fields, b"error"),
        data=fields[b"field:data"] if b"field:data" in fields else _packed_data(fields.get(b"fields", b"")),
    )


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


def _packed_data(packed: bytes) -> bytes | None:
    try:
        parts = _PARTS.decode(packed)
    except msgspec.DecodeError:
        return None
    words = [_content(bytes(part)) for part in parts]
    return dict(zip(words[::2], words[1::2], strict=False)).get(b"data")


def _content(packed: bytes) -> bytes:
    return packed[_HEADS.get(packed[0], 1) :]
