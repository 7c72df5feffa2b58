"""What became of every record of a round."""

import json
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise

from papyra_streams.endpoint import Endpoint
from papyra_streams_contract.arranging import fields_of
from papyra_streams_contract.wire import Wire

from .orders import Summary

Named = tuple[str, int]
"""An actor, and the number of one of its events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How many records it was, and what is wrong with them.

    ``unconfirmed`` -- those that were accepted, and not known to be as durable as was asked for
    ``lost``, ``lost_unconfirmed`` -- those of either sort that are not in the stream
    ``doubled``, ``out_of_order`` -- those that are there twice, or before one of the same actor that came earlier
    ``not_received``, ``received_out_of_order`` -- likewise, for what a subscription was given of what is stored
    ``standstill`` -- for how many seconds no call returned
    """

    confirmed: int
    unconfirmed: int
    lost: int
    lost_unconfirmed: int
    doubled: int
    out_of_order: int
    not_received: int
    received_out_of_order: int
    standstill: float

    @property
    def has_kept_the_promise(self) -> bool:
        """Whether nothing that was confirmed is lost, and the rest is as it always has to be."""
        return not (self.lost or self.doubled or self.out_of_order or self.not_received or self.received_out_of_order)


def settle(summary: Summary, stored: Sequence[Named]) -> Account:
    """Compare what was recorded with what is stored, oldest first, and that with what was received."""
    there, received = set(stored), dict.fromkeys(summary.received)
    confirmed = [(each.actor, each.number) for each in summary.recorded if each.confirmed]
    unconfirmed = [(each.actor, each.number) for each in summary.recorded if not each.confirmed]
    return Account(
        confirmed=len(confirmed),
        unconfirmed=len(unconfirmed),
        lost=len(set(confirmed) - there),
        lost_unconfirmed=len(set(unconfirmed) - there),
        doubled=len(stored) - len(there),
        out_of_order=_out_of_order(dict.fromkeys(stored)),
        not_received=len(there - received.keys()),
        received_out_of_order=_out_of_order(each for each in received if each in there),
        standstill=_longest_gap(each.ended for each in summary.recorded),
    )


async def stored_events(server: Endpoint, stream: str) -> list[Named]:
    """Read whose each event of a stream is and which, oldest first."""
    async with aclosing(Wire(server)) as wire:
        records = [json.loads(fields[1]) for fields in await fields_of(wire, stream)]
    return [(record["actor_address"], record["payload"]["number"]) for record in records]


def _out_of_order(events: Iterable[Named]) -> int:
    latest: dict[str, int] = {}
    count = 0
    for actor, number in events:
        count += number < latest.get(actor, -1)
        latest[actor] = max(number, latest.get(actor, -1))
    return count


def _longest_gap(times: Iterable[int]) -> float:
    return max((later - earlier for earlier, later in pairwise(sorted(times))), default=0) / 1e9
