"""What became of every record."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from papyra_streams.endpoint import Endpoint
from papyra_streams_contract.arranging import fields_of
from papyra_streams_contract.wire import Wire

_SHOWN = 10
NUMBERS_TO_A_PROCESS = 1_000_000


@dataclass(slots=True)
class Ledger:
    """The numbers of the records that were handed to the backend, in that order, and of those it returned for."""

    first: int = 0
    asked: int = 0
    returned: set[int] = field(default_factory=set)

    def take(self) -> int:
        """Return the number of the next record."""
        self.asked += 1
        return self.first + self.asked - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is wrong with a stream: a few numbers of each sort, and how many returned records are not in it."""

    missing: int = 0
    for_instance: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    out_of_order: list[int] = field(default_factory=list)
    never_recorded: list[int] = field(default_factory=list)


def settle(ledger: Ledger, stored: Sequence[int]) -> Account:
    """Compare what was recorded with what is in the stream, oldest first."""
    times = Counter(stored)
    missing = sorted(ledger.returned - times.keys())
    known = range(ledger.first, ledger.first + ledger.asked)
    return Account(
        missing=len(missing),
        for_instance=missing[:_SHOWN],
        repeated=[number for number, count in times.items() if count > 1][:_SHOWN],
        out_of_order=[later for earlier, later in pairwise(stored) if later < earlier][:_SHOWN],
        never_recorded=[number for number in times if number not in known][:_SHOWN],
    )


async def stored_numbers(server: Endpoint, stream: str, *, first: int | None = None) -> list[int]:
    """Read the numbers of the records in a stream, oldest first: of all, or of the process that begins with one."""
    async with aclosing(Wire(server)) as wire:
        found = [_number(json.loads(fields[1])) for fields in await fields_of(wire, stream)]
    numbers = [number for number in found if number is not None]
    return numbers if first is None else [number for number in numbers if 0 <= number - first < NUMBERS_TO_A_PROCESS]


def _number(record: dict[str, Any]) -> int | None:
    # The actor system records facts of its own, which have no number.
    payload = record["payload"]
    return payload.get("number") if isinstance(payload, dict) else None
