"""Which partition a record belongs in: one for each actor, the same one in every process."""

from dataclasses import dataclass
from typing import Any

import pytest
from papyra.address import ActorAddress
from papyra.persistence.models import PersistedDeadLetter, PersistedEvent

from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS
from papyra_streams.domain.partitions import Partition, number_of, partitions_of


def event(address: Any) -> PersistedEvent:
    return PersistedEvent(system_id="s", actor_address=address, event_type="e", payload={}, timestamp=1.0)


def dead_letter(target: Any) -> PersistedDeadLetter:
    return PersistedDeadLetter(system_id="s", target=target, message_type="m", payload=None, timestamp=1.0)


# These are fixed for ever: a record must not move to another partition with a new version.
@pytest.mark.parametrize(
    ("address", "number"), [("orders/1", 68), ("orders/2", 254), ("größe", 137), ("\ud800", 40), ("", 0), (7, 130)]
)
def test_an_actor_has_one_partition_in_every_process(address: Any, number: int) -> None:
    assert number_of(event(address), 256) == number
    assert number_of({"actor_address": address}, 256) == number
    assert number_of(dead_letter(address), 256) == number
    assert number_of({"target": address}, 256) == number


def test_what_has_a_text_goes_where_its_text_goes() -> None:
    class Address:
        def __str__(self) -> str:
            return "orders/1"

    assert number_of(event(Address()), 256) == number_of(event("orders/1"), 256)
    assert number_of(event(ActorAddress("orders", 7)), 256) == number_of(event("orders:7"), 256)


@dataclass
class Nothing:
    """A record without an address."""

    payload: str = "x"


class Unprintable:
    """An address nobody can look at."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "record",
    [event(None), event(Unprintable()), dead_letter(None), {}, {"actor_address": None}, Nothing(), "text", None],
)
def test_what_names_no_actor_belongs_in_the_first_partition(record: Any) -> None:
    assert number_of(record, 256) == 0


def test_actors_are_spread_over_all_partitions() -> None:
    counts = [0] * 8
    for actor in range(8000):
        counts[number_of(event(f"orders/{actor}"), 8)] += 1

    assert min(counts) > 800


def test_audits_are_not_divided() -> None:
    assert partitions_of(AUDITS, 4) == (Partition(AUDITS),)
    assert partitions_of(EVENTS, 2) == (Partition(EVENTS, 0), Partition(EVENTS, 1))
    assert len(partitions_of(DEAD_LETTERS, 256)) == 256
