"""Several streams read as one."""

from collections.abc import AsyncGenerator, Callable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")


async def merged(
    walks: Sequence[AsyncGenerator[ItemT, None]], place: Callable[[ItemT], Any], *, at_most: int | None
) -> AsyncGenerator[ItemT, None]:
    """Yield what several walks yield, up to so many in all; left before its end, it must be closed.

    No walk is asked for more before what it yielded is taken.

    :param place: by what each walk is in order, the least first; of two with the same place, the first walk's is first
    """
    left = at_most
    try:
        heads = [head for number, walk in enumerate(walks) for head in await _next_of(walk, number, place)]
        heapify(heads)
        while heads:
            _, number, item = heads[0]
            yield item
            left = None if left is None else left - 1
            if left == 0:
                return
            following = await _next_of(walks[number], number, place)
            if following:
                heapreplace(heads, following[0])
            else:
                heappop(heads)
    finally:
        for walk in walks:
            await walk.aclose()


async def _next_of(
    walk: AsyncGenerator[ItemT, None], number: int, place: Callable[[ItemT], Any]
) -> list[tuple[Any, int, ItemT]]:
    async for item in walk:
        # The numbers differ, so that items are never compared.
        return [(place(item), number, item)]
    return []
