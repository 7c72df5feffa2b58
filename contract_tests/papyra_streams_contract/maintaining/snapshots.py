"""Everything that a server has of a stream, at one moment."""

import time
from dataclasses import dataclass
from typing import Any

from papyra_streams_contract.wire import Wire

from .material import Fields

# One string, since thousands of replies would take a tenth of a second to read one by one.
_LOOK = """
local out = {}
local function put(value)
  if type(value) == 'table' then
    out[#out + 1] = '*' .. #value .. '\\r\\n'
    for i = 1, #value do
      put(value[i])
    end
  elseif type(value) == 'string' then
    out[#out + 1] = '$' .. #value .. '\\r\\n' .. value .. '\\r\\n'
  elseif type(value) == 'number' then
    out[#out + 1] = string.format(':%.0f\\r\\n', value)
  else
    out[#out + 1] = '$-1\\r\\n'
  end
end
local stream = KEYS[1]
local groups = redis.call('XINFO', 'GROUPS', stream)
local pending, consumers = {}, {}
for i, group in ipairs(groups) do
  pending[i] = redis.call('XPENDING', stream, group[2], '-', '+', 1000000)
  consumers[i] = redis.call('XINFO', 'CONSUMERS', stream, group[2])
end
put({
  redis.call('XINFO', 'STREAM', stream), redis.call('XRANGE', stream, '-', '+'), groups, pending, consumers,
  redis.call('XRANGE', KEYS[2], '-', '+'), redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0),
})
return table.concat(out)
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """Who holds an entry, for how many milliseconds nobody has touched it, and how often it was delivered."""

    consumer: bytes
    idle: int
    attempts: int


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """A group."""

    last: bytes
    consumers: frozenset[bytes]
    pending: dict[bytes, Pending]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A stream with its quarantine.

    ``asked_at``, ``answered_at`` -- on this process's clock, between which the server took it
    """

    entries: dict[bytes, Fields]
    quarantine: list[Fields]
    groups: dict[str, GroupSnapshot]
    last_id: bytes
    memory: int
    asked_at: float
    answered_at: float


async def look(wire: Wire, stream: str, quarantine: str) -> Snapshot:
    """Take a snapshot of a stream that is there."""
    asked_at = time.monotonic()
    text = await wire.text("EVAL", _LOOK, 2, stream, quarantine)
    answered_at = time.monotonic()
    about, entries, groups, pending, consumers, buried, memory = _parse(text, 0)[0]
    found = {each[0]: tuple(each[1]) for each in entries}
    assert len(found) == len(entries), f"{stream} has one id twice"
    return Snapshot(
        entries=found,
        quarantine=[tuple(each[1]) for each in buried],
        groups={
            _named(row)[b"name"].decode(): _group(row, *of_group)
            for row, *of_group in zip(groups, pending, consumers, strict=True)
        },
        last_id=_named(about)[b"last-generated-id"],
        memory=memory,
        asked_at=asked_at,
        answered_at=answered_at,
    )


def _group(row: list[Any], pending: list[Any], consumers: list[Any]) -> GroupSnapshot:
    return GroupSnapshot(
        last=_named(row)[b"last-delivered-id"],
        consumers=frozenset(_named(each)[b"name"] for each in consumers),
        pending={each[0]: Pending(*each[1:]) for each in pending},
    )


def _named(row: list[Any]) -> dict[bytes, Any]:
    return dict(zip(row[::2], row[1::2], strict=True))


def _parse(text: bytes, at: int) -> tuple[Any, int]:
    end = text.index(b"\r\n", at)
    kind, number, at = text[at], int(text[at + 1 : end]), end + 2
    if kind == ord("$"):
        return (text[at : at + number], at + number + 2) if number >= 0 else (None, at)
    if kind == ord(":"):
        return number, at
    values = []
    for _ in range(number):
        value, at = _parse(text, at)
        values.append(value)
    return values, at
