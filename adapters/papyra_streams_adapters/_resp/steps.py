"""Work on many entries in bounded steps, so that no script holds the server up for long."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from operator import lt

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import Settled

from .client import Reply
from .group_replies import not_own

MOST_AT_ONCE = 1000
"""How many entries a script is given at most; Lua passes fewer than 8000 arguments to one command."""


def steps(ids: Iterable[EntryId], *, size: int = MOST_AT_ONCE) -> Iterator[list[EntryId]]:
    """Return ids in ascending order, as the scripts need them, each once, so many at a time."""
    ordered = list(ids)
    # They nearly always come as they were read, and to ask for that takes a tenth of what it takes to sort them.
    if not all(map(lt, ordered, ordered[1:])):
        ordered = sorted(set(ordered))
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]


async def settled(
    ids: Iterable[EntryId], step: Callable[[list[EntryId]], Awaitable[Reply]], *, size: int = MOST_AT_ONCE
) -> Settled:
    """Take the steps one after another, and return what they came to together."""
    wanted = list(ids)
    gone: frozenset[EntryId] = frozenset()
    taken: frozenset[EntryId] = frozenset()
    for part in steps(wanted, size=size):
        its_gone, its_taken = not_own(await step(part))
        gone |= its_gone
        taken |= its_taken
    return Settled(done=frozenset(wanted) - gone - taken, gone=gone, taken=taken)
