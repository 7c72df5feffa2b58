"""The streams among which the records of one kind are divided, so that one hot actor system has many cluster slots."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from operator import attrgetter
from typing import Any
from zlib import crc32

from papyra.persistence.models import PersistedDeadLetter, PersistedEvent

from .kinds import AUDITS, Kind

MOST_PARTITIONS = 256

# Papyra's own models, which nearly all records are, name their actor in a third of the time that `_address` takes.
_ADDRESS_OF_MODEL: Mapping[type, Callable[[Any], object]] = {
    PersistedEvent: attrgetter("actor_address"),
    PersistedDeadLetter: attrgetter("target"),
}


@dataclass(frozen=True, slots=True)
class Partition:
    """One of a kind's streams. Number 0 is the stream that Papyra's own backend knows."""

    kind: Kind
    number: int = 0


def partitions_of(kind: Kind, count: int) -> tuple[Partition, ...]:
    """Return the partitions of a kind: ``count``, but one of audits, which are nobody's and keep together."""
    return tuple(Partition(kind, number) for number in range(1 if kind is AUDITS else count))


def number_of(record: object, count: int) -> int:
    """Tell in which of so many partitions a record belongs: an actor's records are all in one, and so in order.

    It is the same in every process. What names no actor belongs in the first one.
    """
    try:
        address = _ADDRESS_OF_MODEL.get(type(record), _address)(record)
        if address is None:
            return 0
        text = address if isinstance(address, str) else str(address)
        return crc32(text.encode(errors="surrogatepass")) % count
    except Exception:  # noqa: BLE001 -- looking at anybody's object runs anybody's code; the fact is kept all the same
        return 0


def address_in(fields: Mapping[str, object]) -> object:
    """Return the actor that a record's fields name, None if they name none."""
    return fields.get("actor_address", fields.get("target"))


def _address(record: object) -> object:
    if is_dataclass(record):
        return getattr(record, "actor_address", getattr(record, "target", None))
    return address_in(record) if isinstance(record, Mapping) else None
