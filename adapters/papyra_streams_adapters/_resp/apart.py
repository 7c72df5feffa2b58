"""Reading streams that one command cannot read, since they lie in different slots of a cluster."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from papyra_streams.errors import StreamsError
from papyra_streams.ports import Delivered, Member
from papyra_streams.tasks import DetachedTask, spawn

_Part = tuple[Member, ...]
_Take = Callable[[_Part, int], Awaitable[list[Delivered]]]

# No read can be called back, and what one of them finds is handed out when all have returned: it waits for the others
# so many milliseconds, at most.
_LONGEST_WAIT_MS = 100
# A node that takes longer than that, in seconds, keeps nobody waiting: what it gives comes with a later read.
_LONGEST_SILENCE = 0.3


class Apart:
    """Reads them all at the same time, each on its own node: first what there is, and only then, if need be, waits."""

    def __init__(self) -> None:
        self._under_way: dict[_Part, DetachedTask[list[Delivered]]] = {}
        self._owed: dict[_Part, StreamsError] = {}

    async def take(self, parts: Sequence[_Part], block_ms: int, take: _Take) -> list[Delivered]:
        """Return what all parts have, or what they get within ``block_ms``.

        What one part has is not lost for the failure of another, which is raised by the next call, as it is here if
        there is nothing else; nor does it wait for one that is silent, whose answer comes with a later call.

        :param parts: members whose streams one command can read
        :param take: reads one part, and waits for so many milliseconds
        """
        for part in parts:
            if error := self._owed.pop(part, None):
                raise error
        found = await self._take_all(parts, 0, take)
        if found or not block_ms:
            return found
        return await self._take_all(parts, min(block_ms, _LONGEST_WAIT_MS), take)

    async def _take_all(self, parts: Sequence[_Part], block_ms: int, take: _Take) -> list[Delivered]:
        begun: list[DetachedTask[list[Delivered]]] = []
        for part in parts:
            if part not in self._under_way:
                begun.append(spawn(partial(take, part, block_ms), name="papyra-streams take"))
                self._under_way[part] = begun[-1]
        # One that was late before keeps nobody waiting again.
        with anyio.move_on_after(block_ms / 1000 + _LONGEST_SILENCE):
            for task in begun:
                await task.wait()
        if not begun:
            await anyio.sleep(block_ms / 1000)
        return await self._answers(parts)

    async def _answers(self, parts: Sequence[_Part]) -> list[Delivered]:
        found: list[Delivered] = []
        errors: dict[_Part, StreamsError] = {}
        for part in parts:
            if self._under_way[part].done:
                try:
                    found += await self._under_way.pop(part).result()
                except StreamsError as error:
                    errors[part] = error
        if errors and not found:
            raise next(iter(errors.values()))
        self._owed |= errors
        return found
