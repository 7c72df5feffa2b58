"""A stream as years may leave it: bad entries, holes, and groups with entries in hand, some of which are gone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from papyra_streams.domain.kinds import Kind
from papyra_streams_contract.wire import Wire, Word

from .material import WIDE, Fields, bad, good

SLOW, QUICK, FINISHED = "slow", "quick", "finished"
"""The groups: one needs old entries, one newer ones, and one has had everything."""

_CONSUMERS = ("one", "two", "three")
_FIRST_MOMENT = 1_750_000_000_000
_SHARE_OF_BAD = 0.4
_STATES = [(attempts, idle) for attempts in (1, 2, 9) for idle in (0, 5_000, 3_600_000)]

# As many calls as there are in one round trip, of which none is answered.
_RUN_ALL = """
local at = 1
while ARGV[at] do
  local last = at + tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
"""

Command = Sequence[Word]


@dataclass(slots=True)
class Arrangement:
    """The entries of a stream, oldest first, of which some are ``bad``, and the ``deleted`` ones are gone again."""

    stream: str
    entries: dict[str, Fields] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def part(self, first: float, last: float) -> list[str]:
        """Return the ids between two shares of the stream."""
        ids = list(self.entries)
        return ids[round(first * len(ids)) : round(last * len(ids))]


async def arrange(wire: Wire, stream: str, kind: Kind, chance: Random, count: int) -> frozenset[bytes]:
    """Make a stream with so many entries, and return the ids of the bad ones."""
    made = _entries(stream, kind, chance, count)
    commands: list[Command] = [("XADD", stream, entry_id, *fields) for entry_id, fields in made.entries.items()]
    await run_all(wire, commands)
    await run_all(wire, [*_groups(made, chance), ("XDEL", stream, *made.deleted)])
    return frozenset(entry_id.encode() for entry_id in made.bad)


async def run_all(wire: Wire, commands: Iterable[Command]) -> None:
    """Run commands one after another."""
    await wire("EVAL", _RUN_ALL, 0, *(word for each in commands for word in (len(each), *each)))


def _entries(stream: str, kind: Kind, chance: Random, count: int) -> Arrangement:
    made = Arrangement(stream)
    ids = _ids(chance)
    for number in range(count):
        entry_id = next(ids)
        is_bad = chance.random() < _SHARE_OF_BAD
        made.entries[entry_id] = bad(kind, number, chance) if is_bad else good(kind, number, chance)
        if is_bad:
            made.bad.add(entry_id)
    wide = made.part(0.7, 1)[0]
    made.entries[wide] = WIDE
    made.bad.add(wide)
    holes = {each for each in made.part(0, 0.4) if chance.random() < 0.5}
    holes |= {each for each in made.part(0.4, 1) if chance.random() < 0.15}
    made.deleted = holes - {wide}
    return made


def _ids(chance: Random) -> Iterator[str]:
    moment, sequence = _FIRST_MOMENT, 0
    while True:
        yield f"{moment}-{sequence}"
        ahead = chance.choice((0, 1, 1, 7))
        moment, sequence = moment + ahead, 0 if ahead else sequence + 1


def _groups(made: Arrangement, chance: Random) -> Iterator[Command]:
    # What the slow group needs is behind many references to what is gone.
    slow = [each for each in made.part(0, 0.4) if each in made.deleted]
    slow += [each for each in made.part(0.4, 0.6) if chance.random() < 0.5]
    yield from _group(made, SLOW, made.part(0, 0.6), slow, chance)
    quick = [each for each in made.part(0.5, 0.95) if chance.random() < 0.1]
    yield from _group(made, QUICK, made.part(0, 0.95), quick, chance)
    yield from _group(made, FINISHED, made.part(0, 1), [], chance)


def _group(made: Arrangement, name: str, given: list[str], pending: list[str], chance: Random) -> Iterator[Command]:
    yield "XGROUP", "CREATE", made.stream, name, "0"
    cuts = [0, *sorted(chance.sample(range(1, len(given)), len(_CONSUMERS) - 1)), len(given)]
    for consumer, (first, last) in zip(_CONSUMERS, pairwise(cuts), strict=True):
        yield "XREADGROUP", "GROUP", name, consumer, "COUNT", last - first, "STREAMS", made.stream, ">"
    done = set(given) - set(pending)
    yield "XACK", made.stream, name, *done
    by_state: dict[tuple[str, int, int], list[str]] = {}
    for each in pending:
        attempts, idle = chance.choice(_STATES)
        by_state.setdefault((chance.choice(_CONSUMERS), attempts, idle), []).append(each)
    for (consumer, attempts, idle), ids in by_state.items():
        state = ("IDLE", idle, "RETRYCOUNT", attempts, "JUSTID")
        yield "XCLAIM", made.stream, name, consumer, 0, *ids, *state
