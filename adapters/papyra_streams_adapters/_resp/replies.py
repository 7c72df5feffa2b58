"""From raw replies to the ports' values. RESP2 gives maps as flat lists, RESP3 as maps; both are read here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from papyra_streams.domain.entries import Entry, EntryId, RawEntry
from papyra_streams.errors import Rejected
from papyra_streams.ports import GroupState, PendingState

from .client import Reply

_ONE_FIELD = 2

_LISTS = (list, tuple)

_new = tuple.__new__


def number(reply: Reply) -> int:
    """Read an integer; XPENDING gives some of them as text."""
    if isinstance(reply, int):
        return reply
    return int(_bytes(reply))


def text(reply: Reply) -> str:
    """Read a string. A name that is not UTF-8 is shown, not refused: anybody may have created the group."""
    return _bytes(reply).decode(errors="backslashreplace")


def items(reply: Reply) -> Sequence[Reply]:
    """Read a list; nil is an empty one."""
    if reply is None:
        return ()
    if isinstance(reply, _LISTS):
        return reply
    raise _unexpected(reply)


def pairs(reply: Reply) -> Iterable[tuple[Reply, Reply]]:
    """Read a map, or a list that alternates names and values; nil is an empty one."""
    # Asked first, since it is what most entries come as, and an abstract class takes longer to ask for.
    if not isinstance(reply, _LISTS) and isinstance(reply, Mapping):
        return reply.items()
    flat = iter(items(reply))
    return zip(flat, flat, strict=True)


def entry_id(reply: Reply) -> EntryId:
    """Read an entry id."""
    milliseconds, _, sequence = _bytes(reply).partition(b"-")
    try:
        return EntryId(int(milliseconds), int(sequence))
    except ValueError as error:
        raise _unexpected(reply) from error


def entry(reply: Reply) -> Entry:
    """Read an entry. One that a group lists but the stream lacks has nil for its fields."""
    identifier, fields = items(reply)
    return entry_of(identifier, fields)


def entry_of(identifier: Reply, fields: Reply) -> Entry:
    """Read the two parts of an entry."""
    return Entry(entry_id(identifier), None if fields is None else _fields(fields))


def _fields(reply: Reply) -> Mapping[bytes, bytes]:
    # Papyra's entries have one field.
    if type(reply) is list and len(reply) == _ONE_FIELD:
        return {_bytes(reply[0]): _bytes(reply[1])}
    return {_bytes(name): _bytes(value) for name, value in pairs(reply)}


def plain_entry(identifier: Any, fields: Any) -> Entry:
    """Read an entry of one field, as all of Papyra's are, in half the time: not asking first, and in one function.

    :raises AttributeError, LookupError, TypeError, ValueError: if it is anything else
    """
    name, value = fields
    if type(fields) is not list or type(name) is not bytes or type(value) is not bytes:
        raise TypeError
    milliseconds, _, sequence = identifier.partition(b"-")
    # What a named tuple's own constructor does, without the step in Python around it.
    return _new(Entry, (_new(EntryId, (int(milliseconds), int(sequence))), {name: value}))


NOT_PLAIN = (AttributeError, LookupError, TypeError, ValueError)
"""What `plain_entry` raises."""


def entries(reply: Reply) -> list[Entry]:
    """Read a list of entries, without the nils Redis 6.2's XCLAIM puts where an entry was deleted."""
    rows: Any = items(reply)
    try:
        return [plain_entry(identifier, fields) for identifier, fields in rows]
    except NOT_PLAIN:
        return [entry(row) for row in rows if row is not None]


def raw_entry(reply: Reply) -> RawEntry:
    """Read an entry with all its fields."""
    identifier, fields = items(reply)
    return RawEntry(entry_id(identifier), tuple((_bytes(name), _bytes(value)) for name, value in pairs(fields)))


def entries_of_one_stream(reply: Reply) -> list[Entry]:
    """Read what XREADGROUP says of the one stream it was asked for."""
    streams = list(reply.items()) if isinstance(reply, Mapping) else [items(stream) for stream in items(reply)]
    return [found for stream in streams for found in entries(stream[1])]


def pending_state(reply: Reply) -> PendingState:
    """Read XPENDING's summary."""
    count, oldest, newest, consumers = items(reply)
    rows = [items(row) for row in items(consumers)]
    return PendingState(
        count=number(count),
        oldest=None if oldest is None else entry_id(oldest),
        newest=None if newest is None else entry_id(newest),
        consumers={text(name): number(pending) for name, pending in rows},
    )


def group_rows(reply: Reply) -> list[dict[str, Reply]]:
    """Read XINFO GROUPS; which of the properties there are depends on the server."""
    return [{text(name): value for name, value in pairs(group)} for group in items(reply)]


def group_state(row: Mapping[str, Reply]) -> GroupState:
    """Read the properties of one group that every server gives."""
    return GroupState(
        name=text(row["name"]),
        consumers=number(row["consumers"]),
        pending=number(row["pending"]),
        last_delivered=entry_id(row["last-delivered-id"]),
    )


def _bytes(reply: Reply) -> bytes:
    if isinstance(reply, bytes):
        return reply
    raise _unexpected(reply)


def _unexpected(reply: Reply) -> Rejected:
    return Rejected(f"The server gave a reply of an unexpected shape ({type(reply).__name__}); is it Redis or Valkey?")
