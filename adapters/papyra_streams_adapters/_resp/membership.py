"""Who belongs to a group, who leads it, and how it stands."""

from collections.abc import Sequence

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import ConsumerState, GroupStanding, Member, MembershipPort, PendingEntry

from . import group_replies, replies
from .client import RespPart
from .scripts import Script


class RespMembership(RespPart, MembershipPort):
    """Keeps a group's consumers."""

    async def lead(self, member: Member, *, lease_ms: int) -> bool:
        keys, arguments = (member.stream, member.leader), (member.group, member.consumer, lease_ms)
        return replies.number(await Script.named("lead").run(self._client, keys, arguments)) == 1

    async def leave(self, member: Member, *, idle_ms: int = 0) -> bool:
        keys, arguments = (member.stream, member.leader), (member.group, member.consumer, idle_ms)
        return replies.number(await Script.named("leave").run(self._client, keys, arguments)) == 1

    async def consumers(self, stream: str, group: str) -> list[ConsumerState]:
        reply = await self._client.call("XINFO", "CONSUMERS", stream, group, keys=(2,))
        return [group_replies.consumer_state(row) for row in replies.items(reply)]

    async def pending_entries(self, stream: str, group: str, *, count: int, after: EntryId) -> Sequence[PendingEntry]:
        start = after.successor()
        reply = await self._client.call("XPENDING", stream, group, str(start), "+", count)
        # Nothing comes after the largest id, which is its own successor.
        return [group_replies.pending_entry(row) for row in replies.items(reply)] if start > after else []

    async def standing(self, stream: str, group: str) -> GroupStanding:
        return group_replies.standing(await Script.named("standing").run(self._client, (stream,), (group,)))
