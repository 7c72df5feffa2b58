"""From an entry to the record it holds, or to the reason why it holds none. This alone decides what is bad."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from papyra.persistence.models import PersistedAudit, PersistedDeadLetter, PersistedEvent

from papyra_streams.errors import UnknownKind

from .encoding import usable_timestamp
from .entries import Entry, EntryId
from .kinds import AUDITS, DEAD_LETTERS, EVENTS, KINDS, Kind

# Papyra's default clock is the event loop's, which counts from the machine's start: such a time is never this large.
_EARLIEST_EPOCH_TIME = 1e9

_KIND_OF_MODEL: dict[type, Kind] = {PersistedEvent: EVENTS, PersistedAudit: AUDITS, PersistedDeadLetter: DEAD_LETTERS}

_decode = msgspec.json.Decoder().decode

DELETED = "deleted from the stream"


class Record(NamedTuple):
    """A readable entry. ``size`` is how many bytes its JSON takes."""

    id: EntryId
    row: dict[str, Any]
    size: int

    @property
    def timestamp(self) -> float:
        """The record's own time, on whatever clock its actor system used."""
        return self.row["timestamp"]  # type: ignore[no-any-return]  # read() has checked that it is a number

    @property
    def moment(self) -> float:
        """When it was recorded, in seconds since the epoch: its timestamp if it is such a time, else its id's."""
        return self.timestamp if is_epoch_time(self.timestamp) else self.id.seconds


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that every read skips, and why."""

    id: EntryId
    reason: str


def kind_of(record: object) -> Kind:
    """Tell the kind of one of Papyra's models, or of a mapping by what it has under ``kind``.

    :raises UnknownKind: if it does not show
    """
    if kind := _KIND_OF_MODEL.get(type(record)):
        return kind
    for model, kind in _KIND_OF_MODEL.items():
        if isinstance(record, model):
            return kind
    named = record.get("kind") if isinstance(record, Mapping) else None
    for kind in KINDS:
        if kind.record == named:
            return kind
    found = f"has the `kind` {named!r}" if isinstance(record, Mapping) else f"is of {type(record).__name__}"
    raise UnknownKind(
        "A record must be a PersistedEvent, PersistedAudit or PersistedDeadLetter, or a mapping whose `kind` is"
        f" {', '.join(repr(kind.record) for kind in KINDS)}; this one {found}."
    )


def is_epoch_time(seconds: float) -> bool:
    """Tell whether a number can be seconds since the epoch."""
    return seconds >= _EARLIEST_EPOCH_TIME


def read(kind: Kind, entry: Entry) -> Record | Unreadable:
    """Read an entry of the stream of this kind."""
    fields = entry.fields
    if fields is None:
        return Unreadable(entry.id, DELETED)
    data = fields.get(b"data")
    if data is None:
        return Unreadable(entry.id, "no field 'data'")
    try:
        try:
            # msgspec keeps integers of any size exact, which orjson does not.
            row = _decode(data)
        except (ValueError, RecursionError):
            # Papyra's own backend writes NaN, and accepts it; what it wrote stays readable.
            row = json.loads(data.decode())
    except UnicodeDecodeError:
        return Unreadable(entry.id, "not UTF-8")
    except (ValueError, RecursionError):
        return Unreadable(entry.id, "not JSON")
    if not isinstance(row, dict):
        return Unreadable(entry.id, "not a JSON object")
    if row.get("kind") != kind.record:
        return Unreadable(entry.id, f"not of kind {kind.record!r}")
    moment = row.get("timestamp")
    # Asked here, of what it nearly always is, in half the time.
    if not (type(moment) is float and moment - moment == 0.0) and not usable_timestamp(moment):
        return Unreadable(entry.id, "no usable timestamp")
    # What its constructor does, in half the time.
    return tuple.__new__(Record, (entry.id, row, len(data)))


def event(record: Record, system_id: str) -> PersistedEvent:
    """Build Papyra's model; like Papyra, tolerate a field that an older or newer version did not write."""
    row = record.row
    return PersistedEvent(
        system_id=row.get("system_id", system_id),
        actor_address=row.get("actor_address"),  # type: ignore[arg-type]  # None where it is missing, as Papyra does
        event_type=row.get("event_type", ""),
        payload=row.get("payload", {}),
        timestamp=record.timestamp,
    )


def audit(record: Record, system_id: str) -> PersistedAudit:
    """Build Papyra's model; a count that is missing is zero."""
    row = record.row
    return PersistedAudit(
        system_id=row.get("system_id", system_id),
        timestamp=record.timestamp,
        total_actors=row.get("total_actors", 0),
        alive_actors=row.get("alive_actors", 0),
        stopping_actors=row.get("stopping_actors", 0),
        restarting_actors=row.get("restarting_actors", 0),
        registry_size=row.get("registry_size", 0),
        registry_orphans=_names(row.get("registry_orphans")),
        registry_dead=_names(row.get("registry_dead")),
        dead_letters_count=row.get("dead_letters_count", 0),
    )


def dead_letter(record: Record, system_id: str) -> PersistedDeadLetter:
    """Build Papyra's model."""
    row = record.row
    return PersistedDeadLetter(
        system_id=row.get("system_id", system_id),
        target=row.get("target"),
        message_type=row.get("message_type", ""),
        payload=row.get("payload"),
        timestamp=record.timestamp,
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else ()
