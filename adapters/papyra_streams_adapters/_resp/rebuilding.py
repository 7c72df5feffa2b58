"""Writing a stream anew."""

from typing import Literal, cast

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import CopyStep, RebuildingPort

from . import replies
from .client import Argument, Reply, RespPart
from .scripts import Script

# Others wait for the end of a step: some two milliseconds.
_MOST_ENTRIES = 400
# Claiming so many again takes the server some 40 to 90 milliseconds; nobody else is served meanwhile.
_MOST_PENDING = 10_000
# A copy that nobody works on any more takes memory.
_KEPT_FOR_MS = 3_600_000


class RespRebuilding(RespPart, RebuildingPort):
    """Copies and swaps by scripts."""

    async def copy_entries(self, stream: str, copy: str, *, is_begun: bool) -> CopyStep | None:
        how, *rest = await self._step("copy", stream, copy, int(is_begun), _MOST_ENTRIES, _KEPT_FOR_MS)
        if how == b"gone":
            return None
        is_complete, copied, records = map(replies.number, rest)
        return CopyStep(is_complete=is_complete == 1, copied=copied, records=records)

    async def compare(self, stream: str, copy: str, *, after: EntryId | None) -> EntryId | bool | None:
        begin = "" if after is None else str(after)
        how, *last = await self._step("compare", stream, copy, begin, _MOST_ENTRIES, _KEPT_FOR_MS)
        if how == b"gone":
            return None
        if how == b"stale":
            return False
        return replies.entry_id(last[0]) if last else True

    async def swap(
        self, stream: str, copy: str, *, free: str
    ) -> Literal["swapped", "behind", "differs", "pending"] | None:
        arguments = (_MOST_ENTRIES, _MOST_PENDING)
        (how,) = replies.items(await Script.named("swap").run(self._client, (stream, copy, free), arguments))
        if how == b"gone":
            return None
        return cast("Literal['swapped', 'behind', 'differs', 'pending']", replies.text(how))

    async def discard(self, copy: str) -> None:
        await self._client.call("UNLINK", copy)

    async def _step(self, script: str, stream: str, copy: str, *arguments: Argument) -> list[Reply]:
        return list(replies.items(await Script.named(script).run(self._client, (stream, copy), arguments)))
