"""Reading streams that one command cannot read, since they lie in different slots of a cluster."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from papyra_streams.errors import StreamsError
from papyra_streams.ports import Delivered, Member

_Take = Callable[[Sequence[Member], int], Awaitable[list[Delivered]]]

# No read can be called back, and what one of them finds is handed out when all have returned: it waits for the others
# so many milliseconds, at most.
_LONGEST_WAIT_MS = 100


class Apart:
    """Reads them all at the same time, each on its own node: first what there is, and only then, if need be, waits."""

    def __init__(self) -> None:
        self._owed: dict[tuple[str, str, str], StreamsError] = {}

    async def take(self, parts: Sequence[Sequence[Member]], block_ms: int, take: _Take) -> list[Delivered]:
        """Return what all parts have, or what they get within ``block_ms``.

        What one part has is not lost for the failure of another, which is raised by the next call, as it is here if
        there is nothing else.

        :param parts: members whose streams one command can read
        :param take: reads one part, and waits for so many milliseconds
        """
        for part in parts:
            if error := self._owed.pop(_name(part), None):
                raise error
        found = await self._take_all(parts, 0, take)
        if found or not block_ms:
            return found
        return await self._take_all(parts, min(block_ms, _LONGEST_WAIT_MS), take)

    async def _take_all(self, parts: Sequence[Sequence[Member]], block_ms: int, take: _Take) -> list[Delivered]:
        found: list[Delivered] = []
        errors: list[tuple[Sequence[Member], StreamsError]] = []

        async def take_one(part: Sequence[Member]) -> None:
            try:
                found.extend(await take(part, block_ms))
            except StreamsError as error:
                errors.append((part, error))

        async with anyio.create_task_group() as tasks:
            for part in parts:
                tasks.start_soon(take_one, part)
        if errors and not found:
            raise errors[0][1]
        self._owed |= {_name(part): error for part, error in errors}
        return found


def _name(part: Sequence[Member]) -> tuple[str, str, str]:
    return part[0].stream, part[0].group, part[0].consumer
