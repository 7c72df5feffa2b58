"""The group as the server has it."""

from contextlib import aclosing
from dataclasses import dataclass

from papyra_streams import RedisStreamsConfig
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.endpoint import Endpoint
from papyra_streams_contract.arranging import others
from papyra_streams_contract.wire import Reply, Wire, WireError

_KEYS = RedisStreamsConfig().keyspace()
STREAM = _KEYS.stream(Partition(EVENTS))
QUARANTINE = _KEYS.quarantine(Partition(EVENTS))
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
    """How the group stands at one moment.

    ``given`` -- the last entry it was given; None where there is no group
    ``last`` -- the stream's last entry; None where it has none
    """

    given: EntryId | None
    last: EntryId | None
    pending: frozenset[EntryId]
    quarantined: frozenset[EntryId]

    @property
    def has_finished(self) -> bool:
        """Whether every entry was given out and acknowledged."""
        return self.given is not None and self.given == self.last and not self.pending


class GroupOnServer:
    """Looks at the group over a connection of its own, made anew each time: what is looked at is harmed."""

    def __init__(self, server: Endpoint) -> None:
        self._server = server

    async def standing(self) -> Standing:
        """Return how the group stands."""
        async with aclosing(Wire(self._server)) as wire:
            given, last, pending, quarantined = await wire.rows("EVAL", _STANDING, 2, STREAM, QUARANTINE, GROUP)
        return Standing(
            given=_entry(given), last=_entry(last), pending=_entries(pending), quarantined=_entries(quarantined)
        )

    async def has_finished(self) -> bool:
        """Tell whether every entry was given out and acknowledged, as far as the server says so."""
        try:
            return (await self.standing()).has_finished
        except (OSError, EOFError, WireError):
            # It is away, or still reads what it kept.
            return False

    async def entries(self) -> set[EntryId]:
        """Return the ids of all entries of the stream."""
        found: set[EntryId] = set()
        begin = _BEGINNING
        async with aclosing(Wire(self._server)) as wire:
            while page := await wire.rows("EVAL", _IDS, 1, STREAM, str(begin), _PAGE):
                found |= _entries(page)
                begin = max(found).successor()
        return found

    async def holders(self) -> dict[EntryId, str]:
        """Return the consumer of each pending entry."""
        async with aclosing(Wire(self._server)) as wire:
            rows = await wire.rows("XPENDING", STREAM, GROUP, "-", "+", 10_000)
        return {EntryId.parse(_text(row[0])): _text(row[1]) for row in rows if isinstance(row, list)}

    async def longest_idle(self) -> float:
        """Return for how many seconds nobody has touched the pending entry of which that is true for longest."""
        async with aclosing(Wire(self._server)) as wire:
            rows = await wire.rows("XPENDING", STREAM, GROUP, "-", "+", 10_000)
        return max(row[2] for row in rows if isinstance(row, list) and isinstance(row[2], int)) / 1000

    async def consumers(self) -> set[str]:
        """Return the names of the group's consumers."""
        async with aclosing(Wire(self._server)) as wire:
            rows = await wire.rows("XINFO", "CONSUMERS", STREAM, GROUP)
        return {_text(row[1]) for row in rows if isinstance(row, list)}

    async def connections(self) -> int:
        """Return how many connections the server has."""
        async with aclosing(Wire(self._server)) as wire:
            return await others(wire)


def _text(reply: Reply) -> str:
    assert isinstance(reply, bytes), reply
    return reply.decode()


def _entry(reply: Reply) -> EntryId | None:
    return None if reply is None else EntryId.parse(_text(reply))


def _entries(reply: Reply) -> frozenset[EntryId]:
    assert isinstance(reply, list), reply
    return frozenset(EntryId.parse(_text(each)) for each in reply)
