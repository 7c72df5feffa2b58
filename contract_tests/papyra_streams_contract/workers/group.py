"""The group as the server has it."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from papyra_streams import RedisStreamsConfig
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.identifiers import PartitionedId
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.endpoint import Endpoint
from papyra_streams_contract.arranging import others
from papyra_streams_contract.wire import Reply, Wire, WireError

STREAM = RedisStreamsConfig().keyspace().stream(Partition(EVENTS))
GROUP = "workers"

_BEGINNING = EntryId(0, 0)
_PAGE = 5000

# All in one step, since it changes all the time.
_STANDING = """
local given = false
if redis.call('EXISTS', KEYS[1]) == 1 then
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
        local row = {}
        for at = 1, #group, 2 do
            row[group[at]] = group[at + 1]
        end
        if row.name == ARGV[1] then
            given = row['last-delivered-id']
        end
    end
end
local pending = {}
if given then
    for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000000)) do
        table.insert(pending, row[1])
    end
end
local quarantined = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
    for at = 1, #entry[2], 2 do
        if entry[2][at] == 'id' then
            table.insert(quarantined, entry[2][at + 1])
        end
    end
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return {given, last and last[1], pending, quarantined}
"""

_IDS = """
local ids = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
    table.insert(ids, entry[1])
end
return ids
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the group stands, in each of its streams at one moment.

    ``given`` -- the last entry it was given, by the number of the partition; only where there is a group
    ``last`` -- the last entry of each stream that has one
    """

    given: Mapping[int, EntryId]
    last: Mapping[int, EntryId]
    pending: frozenset[PartitionedId]
    quarantined: frozenset[PartitionedId]

    @property
    def has_finished(self) -> bool:
        """Whether there are entries, and every one was given out and acknowledged."""
        all_given = all(self.given.get(number) == last for number, last in self.last.items())
        return bool(self.last) and all_given and not self.pending

    def was_given(self, one: PartitionedId) -> bool:
        """Tell whether an entry was given out."""
        return one.number in self.given and one.entry <= self.given[one.number]


class GroupOnServer:
    """Looks at the group over a connection of its own, made anew each time: what is looked at is harmed.

    :param settings: of the backend, as far as they name streams
    """

    def __init__(self, server: Endpoint, **settings: Any) -> None:
        self._server = server
        keys = RedisStreamsConfig(**settings).keyspace()
        self._streams = {each.number: (keys.stream(each), keys.quarantine(each)) for each in keys.partitions_of(EVENTS)}

    async def standing(self) -> Standing:
        """Return how the group stands."""
        given, last = dict[int, EntryId](), dict[int, EntryId]()
        pending, quarantined = set[PartitionedId](), set[PartitionedId]()
        async with aclosing(Wire(self._server)) as wire:
            for number, keys in self._streams.items():
                rows = await wire.rows("EVAL", _STANDING, 2, *keys, GROUP)
                given |= {} if rows[0] is None else {number: _entry(rows[0])}
                last |= {} if rows[1] is None else {number: _entry(rows[1])}
                pending |= _entries(rows[2], number)
                quarantined |= _entries(rows[3], number)
        return Standing(given=given, last=last, pending=frozenset(pending), quarantined=frozenset(quarantined))

    async def has_finished(self) -> bool:
        """Tell whether every entry was given out and acknowledged, as far as the server says so."""
        try:
            return (await self.standing()).has_finished
        except (OSError, EOFError, WireError):
            # It is away, or still reads what it kept.
            return False

    async def entries(self) -> set[PartitionedId]:
        """Return the ids of all entries of the streams."""
        found: set[PartitionedId] = set()
        async with aclosing(Wire(self._server)) as wire:
            for number, (stream, _) in self._streams.items():
                begin = _BEGINNING
                while page := _entries(await wire.rows("EVAL", _IDS, 1, stream, str(begin), _PAGE), number):
                    found |= page
                    begin = max(page).entry.successor()
        return found

    async def holders(self) -> dict[PartitionedId, str]:
        """Return the consumer of each pending entry."""
        return {PartitionedId(_entry(row[0]), number): _text(row[1]) for number, row in await self._pending()}

    async def longest_idle(self) -> float:
        """Return for how many seconds nobody has touched the pending entry of which that is true for longest."""
        return max(row[2] for _, row in await self._pending() if isinstance(row[2], int)) / 1000

    async def consumers(self) -> set[str]:
        """Return the names of the group's consumers."""
        async with aclosing(Wire(self._server)) as wire:
            rows = [
                row
                for stream, _ in self._streams.values()
                for row in await wire.rows("XINFO", "CONSUMERS", stream, GROUP)
            ]
        return {_text(row[1]) for row in rows if isinstance(row, list)}

    async def _pending(self) -> list[tuple[int, list[Reply]]]:
        async with aclosing(Wire(self._server)) as wire:
            return [
                (number, row)
                for number, (stream, _) in self._streams.items()
                for row in await wire.rows("XPENDING", stream, GROUP, "-", "+", 10_000)
                if isinstance(row, list)
            ]

    async def connections(self) -> int:
        """Return how many connections the server has."""
        async with aclosing(Wire(self._server)) as wire:
            return await others(wire)


def _text(reply: Reply) -> str:
    assert isinstance(reply, bytes), reply
    return reply.decode()


def _entry(reply: Reply) -> EntryId:
    return EntryId.parse(_text(reply))


def _entries(reply: Reply, number: int) -> set[PartitionedId]:
    assert isinstance(reply, list), reply
    return {PartitionedId(_entry(each), number) for each in reply}
