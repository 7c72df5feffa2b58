"""What the streams are made of: records with numbers, and entries that no read can return, of all sorts."""

import json
from collections.abc import Callable
from random import Random

from papyra_streams.domain.kinds import AUDITS, EVENTS, Kind

Fields = tuple[bytes, ...]
"""Names and values by turns, as the server keeps them."""

WIDE: Fields = tuple(b"%d" % number for number in range(5200))
"""More words than a script hands on to one call: in a quarantine they lie packed."""

_LONGEST_TEXT = 300


def good(kind: Kind, number: int, chance: Random) -> Fields:
    """Make an entry with a record; some have other fields beside it."""
    data = (b"data", _record(kind, number, chance))
    match chance.randrange(10):
        case 0:
            return (b"trace", b"%d" % number, *data)
        case 1:
            return (*data, b"\x00\r\n", chance.randbytes(20), b"same", b"one", b"same", b"two")
        case _:
            return data


def bad(kind: Kind, number: int, chance: Random) -> Fields:
    """Make an entry that no read can return."""
    return chance.choice(_SORTS)(kind, number, chance)


def _record(kind: Kind, number: int, chance: Random, **other: object) -> bytes:
    text = "x" * chance.randrange(_LONGEST_TEXT)
    row = {"kind": kind.record, "system_id": "local", "timestamp": 1_750_000_000.0 + number}
    return json.dumps({**row, "payload": {"number": number, "text": text}, **other}).encode()


def _without_data(_: Kind, number: int, __: Random) -> Fields:
    return (b"Data", b"%d" % number)


def _no_text(kind: Kind, number: int, chance: Random) -> Fields:
    return (b"data", _record(kind, number, chance).replace(b"x", b"\xff") + b"\xfe")


def _no_json(kind: Kind, number: int, chance: Random) -> Fields:
    return (b"data", _record(kind, number, chance)[:-1])


def _no_object(_: Kind, number: int, __: Random) -> Fields:
    return (b"data", b"[%d]" % number, b"more", b"\n")


def _of_another_kind(kind: Kind, number: int, chance: Random) -> Fields:
    return (b"data", _record(AUDITS if kind == EVENTS else EVENTS, number, chance))


def _without_time(kind: Kind, number: int, chance: Random) -> Fields:
    return (b"data", _record(kind, number, chance, timestamp="yesterday"))


def _repeated(_: Kind, number: int, __: Random) -> Fields:
    return (b"data", b"{", b"same", b"one", b"same", b"%d" % number, b"data", b"{")


def _binary(_: Kind, number: int, chance: Random) -> Fields:
    return (b"\x00\xff\r\n", chance.randbytes(60), b"", b"", b"field:data", b"%d" % number, b"id", b"0-1")


_SORTS: tuple[Callable[[Kind, int, Random], Fields], ...] = (
    _without_data,
    _no_text,
    _no_json,
    _no_object,
    _of_another_kind,
    _without_time,
    _repeated,
    _binary,
)
