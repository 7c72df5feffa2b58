"""The entries that are read, and a group of its own for each who reads them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import cycle, islice
from uuid import uuid4

from papyra.persistence.models import PersistedEvent

from benchmarks.contenders import STREAM, ours
from benchmarks.servers import RunningServer
from benchmarks.writing import check_stored
from papyra_streams_contract.wire import Wire

_FILLED_BY = "redis"


class EntriesLeft(Exception):
    """Not everything was acknowledged, so that there is nothing to compare."""


async def fill(server: RunningServer, events: Sequence[PersistedEvent], count: int) -> None:
    """Empty the server, and put so many entries into the stream, the events again and again."""
    server.empty()
    async with aclosing(ours(_FILLED_BY)(server.url)) as backend:
        await backend.record_many(islice(cycle(events), count))
    check_stored(server, 0, count)


@asynccontextmanager
async def group_of_its_own(server: RunningServer) -> AsyncIterator[str]:
    """Give a group's name that nobody has used, and remove the group afterwards."""
    name = f"bench-{uuid4().hex}"
    try:
        yield name
    finally:
        async with aclosing(Wire(server.endpoint)) as wire:
            await wire("XGROUP", "DESTROY", STREAM, name)


async def check_acknowledged(server: RunningServer, group: str) -> None:
    """Check that a group has nothing pending.

    :raises EntriesLeft: if it has
    """
    async with aclosing(Wire(server.endpoint)) as wire:
        pending, *_ = await wire.rows("XPENDING", STREAM, group)
    if pending != 0:
        raise EntriesLeft(f"{pending!r} entries were not acknowledged on {server.name}.")
