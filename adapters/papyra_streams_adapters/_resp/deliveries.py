"""Giving a group's entries to its consumers."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import Rejected, UnsupportedOperation
from papyra_streams.garbage import uncollected
from papyra_streams.ports import Delivered, DeliveryPort, Joined, Member, Settled

from . import group_replies
from .client import LONGEST_BLOCK_MS, Argument, Reply, RespPart
from .scripts import Script
from .steps import MOST_AT_ONCE, settled, steps

# The servers take an entry that would have been idle since before the epoch for one that was just given out.
_LONGEST_IDLE_MS = 10**12
# Each looks at 1000 entries in about a millisecond, and lets others in between.
_STEPS_OF_A_SEARCH = 100
_LAST_ID = EntryId(2**64 - 1, 2**64 - 1)

# An id as the servers write it, in a third of the time that its text takes.
_on_the_wire: Callable[[EntryId], bytes] = b"%d-%d".__mod__


class RespDeliveries(RespPart, DeliveryPort):
    """Gives out entries by XREADGROUP and by scripts, which see to whose an entry is."""

    def place(self, stream: str) -> int:
        return self._client.place(stream)

    async def join(
        self, member: Member, *, start: str, on_loss: Literal["resume", "replay", "fail"], expected: bool
    ) -> Joined:
        after = start if start == "$" else str(EntryId.parse(start))
        arguments = (member.group, after, on_loss, int(expected))
        return group_replies.joined(await self._run("join", (member.stream, member.state), arguments))

    async def take(
        self, members: Sequence[Member], *, count: int, block_ms: int = 0, claim_idle_ms: int | None = None
    ) -> list[Delivered]:
        first = members[0]
        command: list[Argument] = ["XREADGROUP", "GROUP", first.group, first.consumer, "COUNT", count]
        block = min(block_ms, LONGEST_BLOCK_MS)
        command += ("BLOCK", block) if block else ()
        command += ("CLAIM", claim_idle_ms) if claim_idle_ms is not None else ()
        command += ("STREAMS", *(member.stream for member in members), *(">" for _ in members))
        keys = range(len(command) - 2 * len(members), len(command) - len(members))
        try:
            if block:
                reply = await self._client.call_blocking(*command, keys=keys, timeout=block / 1000)
            else:
                reply = await self._client.call(*command, keys=keys)
        except Rejected as error:
            if claim_idle_ms is None or "syntax error" not in str(error):
                raise
            raise UnsupportedOperation("This server's reads do not claim; those of Redis 8.4 do.") from error
        with uncollected():
            return group_replies.taken(reply)

    async def take_stuck(self, member: Member, *, count: int, min_idle_ms: int, pause_ms: int) -> list[Delivered]:
        keys = (member.stream, member.state, member.pause)
        arguments = (member.group, member.consumer, min(count, MOST_AT_ONCE), min_idle_ms, pause_ms)
        reached: Sequence[bytes] = ()
        for _ in range(_STEPS_OF_A_SEARCH):
            reply = await self._run("stuck", keys, (*arguments, *reached))
            given, reached = group_replies.found(member.stream, reply)
            if given or not reached:
                return given
        return []

    async def take_pending(
        self, member: Member, *, count: int, after: EntryId, but: Collection[EntryId] = ()
    ) -> list[Delivered]:
        found: list[Delivered] = []
        left = sorted(but)
        last: EntryId | None = after
        while last is not None and last < _LAST_ID and len(found) < count:
            del left[: bisect_right(left, last)]
            size = min(count - len(found), MOST_AT_ONCE)
            # Among so many entries there are no more of those, and they are the first.
            looks = min(size + len(left), MOST_AT_ONCE)
            arguments = (member.group, member.consumer, str(last.successor()), size, looks)
            reply = await self._run("pending", (member.stream,), (*arguments, *map(_on_the_wire, left[:looks])))
            given, last = group_replies.given_page(member.stream, reply)
            found += given
        return found

    async def take_again(self, member: Member, ids: Sequence[EntryId]) -> list[Delivered]:
        found: list[Delivered] = []
        for part in steps(ids):
            reply = await self._run_for(member, "again", (member.stream,), part)
            found += group_replies.given(member.stream, reply)
        return found

    async def renew(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        return await settled(ids, lambda part: self._run_for(member, "renew", (member.stream,), part))

    async def settle(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        keys = (member.stream, member.state)
        return await settled(ids, lambda part: self._run_for(member, "settle", keys, part))

    async def release(self, member: Member, idle_ms: Mapping[EntryId, int], *, to: str, counted: bool) -> Settled:
        async def step(part: list[EntryId]) -> Reply:
            idle: list[Argument] = [max(0, min(idle_ms[each], _LONGEST_IDLE_MS)) for each in part]
            arguments = (member.group, member.consumer, to, int(counted), *map(str, part), *idle)
            return await self._run("release", (member.stream,), arguments)

        return await settled(idle_ms, step)

    async def _run_for(self, member: Member, script: str, keys: Sequence[str], ids: Sequence[EntryId]) -> Reply:
        return await self._run(script, keys, (member.group, member.consumer, *map(_on_the_wire, ids)))

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        return await Script.named(script).run(self._client, keys, arguments)
