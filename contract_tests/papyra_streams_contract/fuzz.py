"""Entries of every sort a stream may hold: bytes, deep JSON, huge numbers, wrong kinds, missing and large fields."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from papyra_streams.domain.entries import EntryId

from .wire import Wire, Word

Fields = tuple[tuple[bytes, bytes], ...]

_LARGE = 1024 * 1024
# So many bytes of commands go out in one round trip.
_BATCH_BYTES = 1024 * 1024

_ADD_ALL = """
local at = 1
while ARGV[at] do
  local size = tonumber(ARGV[at + 1])
  redis.call('XADD', KEYS[1], ARGV[at], unpack(ARGV, at + 2, at + 1 + size))
  at = at + 2 + size
end
"""


@dataclass(frozen=True, slots=True)
class Odd:
    """One entry, with its fields as they stand."""

    id: EntryId
    fields: Fields

    @property
    def is_readable(self) -> bool:
        """Whether it is a record, judged with Python's own decoder alone."""
        data = dict(self.fields).get(b"data")
        if data is None:
            return False
        try:
            row = json.loads(data.decode())
        except (ValueError, RecursionError):
            return False
        return isinstance(row, dict) and row.get("kind") == "event" and _is_time(row.get("timestamp"))


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def entries(chance: Random, count: int, *, first_ms: int, large: int) -> list[Odd]:
    """Make so many, one each millisecond; among them so many with a field of a megabyte."""
    places = set(chance.sample(range(count), large))
    return [
        Odd(EntryId(first_ms + number, 0), _with_large_field(chance) if number in places else _fields(chance, number))
        for number in range(count)
    ]


def _with_large_field(chance: Random) -> Fields:
    kind = chance.choice(["event", "audit"])
    record = _row(0, kind=kind, payload={"text": "x" * _LARGE})
    return chance.choice([((b"data", record),), ((b"data", b"{"), (b"dump", chance.randbytes(_LARGE)))])


def _fields(chance: Random, number: int) -> Fields:
    data = chance.choice(_SORTS)(chance, number)
    match chance.randrange(20):
        case 0:
            return ((b"date", data),)
        case 1:
            return ((b"data", b"{}"), (b"data", data))
        case 2:
            return ((b"data", data), (b"", b""), (b"\xff\r\n", chance.randbytes(5)))
        case _:
            return ((b"data", data),)


def _row(number: int, **fields: Any) -> bytes:
    return json.dumps({"kind": "event", "timestamp": 1.5, "payload": number} | fields).encode()


def _scrambled(chance: Random, number: int) -> bytes:
    data = bytearray(_row(number, text="ü\ud800"))
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def _cut(chance: Random, number: int) -> bytes:
    data = _row(number)
    return data[: chance.randrange(len(data))]


def _with_number(chance: Random, number: int) -> bytes:
    digits = chance.choice(["9" * 400, "9" * 5000, "1e999", "-1e999", "NaN", "Infinity", "0." + "3" * 600, "-0", "1E5"])
    where = chance.choice(["timestamp", "payload"])
    return _row(number, **{where: "@"}).replace(b'"@"', digits.encode())


def _nested(chance: Random, number: int) -> bytes:
    depth = chance.choice([10, 200, 100_000])
    return _row(number, payload="@").replace(b'"@"', b"[" * depth + b"]" * depth)


def _with_odd_value(chance: Random, number: int) -> bytes:
    odd: Any = chance.choice([None, True, False, "1.5", [], {}, -1, 0, 1e308, 2**70])
    return _row(number, **{chance.choice(["timestamp", "kind", "payload"]): odd})


_SORTS: Sequence[Callable[[Random, int], bytes]] = (
    lambda _, number: _row(number),
    lambda _, number: _row(number),
    lambda chance, _: chance.randbytes(chance.randrange(40)),
    lambda chance, _: chance.choice([b"", b"{}", b"[]", b"null", b"3", b'"x"', b"\xef\xbb\xbf{}", b" {} ", b"\x00"]),
    lambda chance, number: _row(number, kind=chance.choice(["audit", "dead_letter", "Event", ""])),
    lambda _, number: _row(number, text="\ud800 \u0000 \u2028"),
    _scrambled,
    _cut,
    _with_number,
    _with_odd_value,
)


def nested(chance: Random, count: int, *, first_ms: int) -> list[Odd]:
    """Make entries of deep JSON."""
    return [Odd(EntryId(first_ms + number, 0), ((b"data", _nested(chance, number)),)) for number in range(count)]


async def put(wire: Wire, stream: str, odd: Sequence[Odd]) -> None:
    """Put entries on the server, many in a round trip."""
    words: list[Word] = []
    size = 0
    for entry in odd:
        flat = [word for field in entry.fields for word in field]
        words += [str(entry.id), len(flat), *flat]
        size += sum(map(len, flat))
        if size > _BATCH_BYTES or len(words) > 2000:
            await wire("EVAL", _ADD_ALL, 1, stream, *words)
            words, size = [], 0
    if words:
        await wire("EVAL", _ADD_ALL, 1, stream, *words)
