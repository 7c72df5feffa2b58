"""Every port of the core, for any client that speaks RESP."""

from collections.abc import Sequence

import anyio

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.errors import (
    GroupMissing,
    PermissionDenied,
    UnsupportedOperation,
)
from papyra_streams.garbage import uncollected
from papyra_streams.ports import (
    Appended,
    Confirmation,
    GroupState,
    PendingState,
    ProducerMark,
    StreamStore,
)

from . import confirming, replies
from .client import LONGEST_BLOCK_MS, Argument, RespClient
from .deliveries import RespDeliveries
from .group_reads import GroupReads
from .health import RespHealth
from .maintenance import RespMaintenance
from .membership import RespMembership
from .quarantine import RespQuarantine
from .rebuilding import RespRebuilding
from .scripts import Script

_FIRST_ID = EntryId(0, 0)
# Others wait for the end of a step: about a millisecond.
_COUNTED_AT_ONCE = 500


class RespStore(
    RespDeliveries, RespMembership, RespQuarantine, RespMaintenance, RespRebuilding, RespHealth, StreamStore
):
    """Streams on one Redis or Valkey server."""

    def __init__(self, client: RespClient) -> None:
        super().__init__(client)
        self._reads = GroupReads()

    @property
    def event_loops(self) -> frozenset[str]:
        return self._client.event_loops

    # -- append

    async def append(
        self, stream: str, payloads: Sequence[bytes], *, mark: ProducerMark, confirmation: Confirmation | None = None
    ) -> Appended:
        keys = (stream, mark.key)
        arguments: list[Argument] = [mark.first, mark.lifetime, *payloads]
        waits = confirming.waits(confirmation) if confirmation else ()
        if confirmation is None or not waits:
            return Appended(replies.number(await Script.named("append").run(self._client, keys, arguments)))
        longest = len(waits) * confirmation.timeout_ms / 1000
        count, said = await Script.named("append").run_before(self._client, keys, arguments, waits, timeout=longest)
        return Appended(replies.number(count), confirmed=confirming.came(waits, said))

    # -- read

    async def newest(self, stream: str, *, count: int, before: EntryId | None = None) -> list[Entry]:
        if before == _FIRST_ID:
            # The servers refuse an exclusive range that begins here.
            return []
        end = f"({before}" if before else "+"
        reply = await self._client.call("XREVRANGE", stream, end, "-", "COUNT", count)
        with uncollected():
            return replies.entries(reply)

    async def oldest(self, stream: str, *, count: int, after: EntryId | None = None) -> list[Entry]:
        start = "-" if after is None else str(after.successor())
        if after is not None and after.successor() == after:
            return []
        return replies.entries(await self._client.call("XRANGE", stream, start, "+", "COUNT", count))

    async def count(self, stream: str, *, before: EntryId) -> int:
        counted, first = 0, str(_FIRST_ID)
        # The servers refuse an exclusive range that ends here, too.
        while before != _FIRST_ID:
            reply = await Script.named("count").run(self._client, (stream,), (first, str(before), _COUNTED_AT_ONCE))
            step, *last = replies.items(reply)
            counted += replies.number(step)
            if not last:
                return counted
            first = str(replies.entry_id(last[0]).successor())
        return counted

    async def length(self, stream: str) -> int:
        return replies.number(await self._client.call("XLEN", stream))

    async def memory(self, stream: str) -> int | None:
        try:
            reply = await self._client.call("MEMORY", "USAGE", stream, keys=(2,))
        except (UnsupportedOperation, PermissionDenied):
            return None
        return 0 if reply is None else replies.number(reply)

    # -- groups

    async def create_group(self, stream: str, group: str, *, start: str) -> None:
        await self._client.call("XGROUP", "CREATE", stream, group, start, "MKSTREAM", keys=(2,))

    async def read_group(
        self, stream: str, group: str, consumer: str, *, count: int, after: str = ">", block_ms: int | None = None
    ) -> list[Entry]:
        who = (stream, group, consumer)
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count)
        tail = ("STREAMS", stream, after)
        if after != ">":
            # Pending entries stay where they are, and nobody waits for them.
            return await self._read_now((*command, *tail))
        if not block_ms:
            return await self._reads.read(who, count, lambda: self._read_now((*command, *tail)))
        deadline = anyio.current_time() + block_ms / 1000
        while True:
            remaining = round((deadline - anyio.current_time()) * 1000)
            block = max(1, min(remaining, LONGEST_BLOCK_MS))
            held = (*command, "BLOCK", block, *tail)
            found = await self._reads.read(who, count, lambda held=held, block=block: self._read_held(held, block))  # type: ignore[misc]
            if found or anyio.current_time() >= deadline:
                return found

    async def _read_now(self, command: tuple[Argument, ...]) -> list[Entry]:
        return replies.entries_of_one_stream(await self._client.call(*command, keys=(len(command) - 2,)))

    async def _read_held(self, command: tuple[Argument, ...], block_ms: int) -> list[Entry]:
        reply = await self._client.call_blocking(*command, keys=(len(command) - 2,), timeout=block_ms / 1000)
        return replies.entries_of_one_stream(reply)

    async def acknowledge(self, stream: str, group: str, ids: Sequence[EntryId]) -> int:
        return replies.number(await self._client.call("XACK", stream, group, *map(str, ids))) if ids else 0

    async def claim(
        self, stream: str, group: str, consumer: str, *, min_idle_ms: int, ids: Sequence[EntryId]
    ) -> list[Entry]:
        if not ids:
            return []
        reply = await self._client.call("XCLAIM", stream, group, consumer, min_idle_ms, *map(str, ids))
        claimed = replies.entries(reply)
        if len(claimed) < len(replies.items(reply)):
            await self._forget_deleted(stream, group, set(ids) - {entry.id for entry in claimed})
        return claimed

    async def _forget_deleted(self, stream: str, group: str, ids: set[EntryId]) -> None:
        # Redis 6.2 claims an entry that was deleted from the stream, and leaves it pending for ever.
        candidates = sorted(ids)
        found = await self._client.batch([("XRANGE", stream, str(one), str(one)) for one in candidates])
        await self.acknowledge(
            stream, group, [one for one, reply in zip(candidates, found, strict=True) if reply == []]
        )

    async def pending(self, stream: str, group: str) -> PendingState:
        return replies.pending_state(await self._client.call("XPENDING", stream, group))

    async def groups(self, stream: str) -> list[GroupState]:
        try:
            reply = await self._client.call("XINFO", "GROUPS", stream, keys=(2,))
        except GroupMissing:
            return []
        return [replies.group_state(row) for row in replies.group_rows(reply)]

    async def lag(self, stream: str, group: str) -> int | None:
        reply = await self._client.call("XINFO", "GROUPS", stream, keys=(2,))
        for row in replies.group_rows(reply):
            if replies.text(row["name"]) != group:
                continue
            if "lag" not in row:
                raise UnsupportedOperation("This server does not count a group's lag; Redis 7.0 and every Valkey do.")
            return None if row["lag"] is None else replies.number(row["lag"])
        raise GroupMissing(f"The stream {stream} has no group {group!r}.")

    async def aclose(self) -> None:
        await self._client.aclose()
