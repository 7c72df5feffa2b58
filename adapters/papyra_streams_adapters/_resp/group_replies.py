"""From raw replies to what the ports tell of groups. Scripts answer lists, whatever the protocol."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import ConsumerState, Delivered, GroupStanding, Joined, PendingEntry, Replayed

from .client import Reply
from .replies import NOT_PLAIN, entry_id, entry_of, items, number, pairs, plain_entry, text

# How many words an entry has that was not asked for with CLAIM.
_WITHOUT_CLAIM = 2

_new = tuple.__new__


def joined(reply: Reply) -> Joined:
    """Read what join.lua answers."""
    how, after = items(reply)
    return Joined(cast("Literal['found', 'created', 'restored']", text(how)), entry_id(after))


def taken(reply: Reply) -> list[Delivered]:
    """Read what XREADGROUP answers. With CLAIM each entry also has its idle time and its deliveries before this one."""
    found: list[Delivered] = []
    for name, rows in _streams(reply):
        stream = text(name)
        try:
            found += [_taken_plain(stream, row) for row in items(rows)]
        except NOT_PLAIN:
            found += [each for row in items(rows) if (each := _taken(stream, row)) is not None]
    return found


def given(stream: str, reply: Reply) -> list[Delivered]:
    """Read the entries that a script gives out."""
    return [_given(stream, row) for row in items(reply)]


def given_page(stream: str, reply: Reply) -> tuple[list[Delivered], EntryId | None]:
    """Read what pending.lua answers, and after which id it is to be run again."""
    rows, *last = items(reply)
    return given(stream, rows), entry_id(last[0]) if last else None


def found(stream: str, reply: Reply) -> tuple[list[Delivered], list[bytes]]:
    """Read what stuck.lua answers, and the words with which it is to be run again, if it is."""
    rows, *words = items(reply)
    return given(stream, rows), [word for word in words if isinstance(word, bytes)]


def not_own(reply: Reply) -> tuple[frozenset[EntryId], frozenset[EntryId]]:
    """Read which entries are pending for nobody, and which are another consumer's."""
    gone, others = items(reply)
    return frozenset(map(entry_id, items(gone))), frozenset(map(entry_id, items(others)))


def consumer_state(reply: Reply) -> ConsumerState:
    """Read one consumer of XINFO CONSUMERS."""
    row = {text(name): value for name, value in pairs(reply)}
    # -1 where it was never given anything.
    inactive = number(row.get("inactive", -1))
    return ConsumerState(
        name=text(row["name"]),
        pending=number(row["pending"]),
        idle_ms=number(row["idle"]),
        inactive_ms=None if inactive < 0 else inactive,
    )


def pending_entry(reply: Reply) -> PendingEntry:
    """Read one row of XPENDING with a range."""
    identifier, consumer, idle, deliveries = items(reply)
    return PendingEntry(
        id=entry_id(identifier), consumer=text(consumer), idle_ms=number(idle), deliveries=number(deliveries)
    )


def standing(reply: Reply) -> GroupStanding:
    """Read what standing.lua answers."""
    length, newest, lag, pending, oldest, last, moment = items(reply)
    seconds, microseconds = items(moment)
    entries, last_delivered = number(length), entry_id(last)
    return GroupStanding(
        length=entries,
        lag=_lag(lag, entries, is_at_end=newest is None or last_delivered >= entry_id(newest)),
        pending=number(pending),
        last_delivered=last_delivered,
        oldest_pending=None if oldest is None else entry_id(oldest),
        moment_ms=number(seconds) * 1000 + number(microseconds) // 1000,
    )


def replayed(reply: Reply) -> Replayed | None:
    """Read what replay.lua answers."""
    words = items(reply)
    return Replayed(cast("Literal['pending', 'appended']", text(words[0])), entry_id(words[1])) if words else None


def _streams(reply: Reply) -> Iterator[tuple[Reply, Reply]]:
    if isinstance(reply, Mapping):
        yield from reply.items()
        return
    for stream in items(reply):
        name, rows = items(stream)
        yield name, rows


def _taken_plain(stream: str, row: Any) -> Delivered:
    idle, before = (0, 0) if len(row) == _WITHOUT_CLAIM else (row[2], row[3])
    return _new(Delivered, (stream, plain_entry(row[0], row[1]), before + 1, idle))


def _taken(stream: str, row: Reply) -> Delivered | None:
    words = items(row)
    found = entry_of(words[0], words[1])
    if found.fields is None:
        return None
    if len(words) == _WITHOUT_CLAIM:
        return Delivered(stream, found, 1, 0)
    return Delivered(stream, found, number(words[3]) + 1, number(words[2]))


def _given(stream: str, row: Reply) -> Delivered:
    identifier, fields, idle, attempt = items(row)
    return Delivered(stream, entry_of(identifier, fields), number(attempt), number(idle))


def _lag(counted: Reply, length: int, *, is_at_end: bool) -> int | None:
    # After deletions some servers count more than there is, or nothing of what there is.
    if is_at_end:
        return 0
    lag = None if counted is None else number(counted)
    return lag if lag is not None and 0 < lag <= length else None
