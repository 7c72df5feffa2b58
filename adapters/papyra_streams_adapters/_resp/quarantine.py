"""What a group gave up, and how it comes back."""

from collections.abc import Sequence

from papyra_streams.domain.entries import EntryId, RawEntry
from papyra_streams.ports import DeadEntry, Member, QuarantinePort, Replayed, Settled

from . import group_replies, replies
from .client import Argument, Reply, RespPart
from .scripts import Script
from .steps import settled

# Each is copied whole, whatever its size.
_MOST_COPIES_AT_ONCE = 100
# Longer than any setting asks for.
_IDLE_FOR_LONG_MS = 10**12


class RespQuarantine(RespPart, QuarantinePort):
    """Keeps entries beside their stream by scripts, so that each is in one place."""

    async def bury(self, member: Member, dead: Sequence[DeadEntry], *, quarantine: str, moment: float) -> Settled:
        by_id = {each.id: each for each in dead}

        async def step(part: list[EntryId]) -> Reply:
            arguments: list[Argument] = [member.group, member.consumer, repr(moment)]
            for each in part:
                arguments += (str(each), by_id[each].attempts, by_id[each].reason, by_id[each].error)
            keys = (member.stream, member.state, quarantine)
            return await Script.named("bury").run(self._client, keys, arguments)

        return await settled(by_id, step, size=_MOST_COPIES_AT_ONCE)

    async def quarantined(self, quarantine: str, *, count: int, after: EntryId) -> list[RawEntry]:
        start = after.successor()
        reply = await self._client.call("XRANGE", quarantine, str(start), "+", "COUNT", count)
        # Nothing comes after the largest id, which is its own successor.
        return [replies.raw_entry(row) for row in replies.items(reply)] if start > after else []

    async def replay(
        self,
        stream: str,
        quarantine: str,
        quarantined: EntryId,
        *,
        to: str,
        state: str | None = None,
        data: bytes | None = None,
    ) -> Replayed | None:
        keys = (stream, quarantine) if state is None else (stream, quarantine, state)
        mended = () if data is None else (data,)
        arguments = (str(quarantined), to, _IDLE_FOR_LONG_MS, *mended)
        return group_replies.replayed(await Script.named("replay").run(self._client, keys, arguments))

    async def drop(self, quarantine: str, ids: Sequence[EntryId]) -> int:
        return replies.number(await self._client.call("XDEL", quarantine, *map(str, ids))) if ids else 0
