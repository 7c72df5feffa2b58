"""A stream of a million entries, one for each second of the last days, and copies of it that may be harmed."""

import re
import time
from collections.abc import Sequence
from contextlib import aclosing

import anyio
from papyra.persistence.models import PersistedEvent

from benchmarks.contenders import PREFIX, STREAM, ours
from benchmarks.events import SYSTEM
from benchmarks.servers import RunningServer
from papyra_streams_contract.wire import Wire, Word

ENTRIES = 1_000_000
KEPT = 100_000
FEW = 1000

COPIED = f"{PREFIX}-copy"
COPY = f"{COPIED}:{SYSTEM}:events"
SMALL = f"{PREFIX}-small"
_SMALL_STREAM = f"{SMALL}:{SYSTEM}:events"

_FILLED_BY = "redis"
_OF_A_STEP = 10_000
_GLANCE = 0.01
_TIMESTAMP = re.compile(rb'(.*"timestamp":)[0-9.]+(.*)', re.DOTALL)
# In a step, the same texts again and again, with the time of each entry in them; one of so many is cut off there.
_FILL = """
local second, steps, bad = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for _ = 1, steps do
  for each = 4, #ARGV, 2 do
    local data = ARGV[each] .. string.format('%.1f', second) .. ARGV[each + 1]
    if bad > 0 and second % bad == 0 then
      data = ARGV[each]
    end
    redis.call('XADD', KEYS[1], string.format('%.0f', second * 1000) .. '-0', 'data', data)
    second = second + 1
  end
end
"""


class EntriesWrong(Exception):
    """The server does not have what was to be there, so that there is nothing to compare."""


async def fill(server: RunningServer, events: Sequence[PersistedEvent], *, one_bad_of: int = 0) -> None:
    """Empty the server, and fill a stream of `ENTRIES` and a small one of `FEW`, both up to this second.

    :param one_bad_of: make one of so many entries one that reads skip; 0 for none
    """
    texts = await _texts(server, events[:FEW])
    server.empty()
    end = int(time.time()) + 1
    async with aclosing(Wire(server.endpoint)) as wire:
        await _fill(wire, _SMALL_STREAM, (end - FEW, 1, one_bad_of), texts)
        for second in range(end - ENTRIES, end, _OF_A_STEP):
            await _fill(wire, STREAM, (second, _OF_A_STEP // FEW, one_bad_of), texts)
    check_length(server, STREAM, ENTRIES, ENTRIES)


async def copy(server: RunningServer) -> None:
    """Make a fresh copy of the stream, and return when nothing of a former one is left."""
    async with aclosing(Wire(server.endpoint)) as wire:
        if former := await wire.keys(f"{COPIED}:*"):
            await wire("DEL", *former)
        # Some servers free memory in a thread of its own, which would take its time from what is measured.
        while server.frees_memory:  # noqa: ASYNC110 -- the server tells nobody that it is done
            await anyio.sleep(_GLANCE)
        await wire("COPY", STREAM, COPY)


async def first_kept(server: RunningServer) -> int:
    """Return the second of the oldest entry of the last `KEPT`."""
    async with aclosing(Wire(server.endpoint)) as wire:
        ((newest, _),) = await wire.rows("XREVRANGE", STREAM, "+", "-", "COUNT", 1)  # type: ignore[misc]  # an entry is a pair
    assert isinstance(newest, bytes)  # noqa: S101 -- an id is text
    return int(newest.partition(b"-")[0]) // 1000 - KEPT + 1


def check_length(server: RunningServer, stream: str, at_least: int, at_most: int) -> None:
    """Check how many entries a stream has.

    :raises EntriesWrong: if it has another number
    """
    if not at_least <= (found := server.length(stream)) <= at_most:
        raise EntriesWrong(f"{stream} has {found} entries on {server.name}, not {at_least} to {at_most}.")


async def _texts(server: RunningServer, events: Sequence[PersistedEvent]) -> list[bytes]:
    """Return what stands in an entry before and after its time, for each event, as our backend writes it."""
    server.empty()
    async with aclosing(ours(_FILLED_BY)(server.url)) as backend, aclosing(Wire(server.endpoint)) as wire:
        await backend.record_many(events)
        rows = await wire.rows("XRANGE", STREAM, "-", "+")
    found = [_TIMESTAMP.fullmatch(row[1][1]) for row in rows]  # type: ignore[index,arg-type]  # an entry has one field
    return [text for match in found if match for text in match.groups()]


async def _fill(wire: Wire, stream: str, how: tuple[int, int, int], texts: Sequence[Word]) -> None:
    await wire("EVAL", _FILL, 1, stream, *how, *texts)
