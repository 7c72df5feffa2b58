"""What is repeated when a server does not answer, how often, and what never is.

After `Unavailable` or `OutOfMemory` the command certainly did not run, and anything may be sent again. After
`Indeterminate` only what changes nothing the second time may be: reading, acknowledging, trimming, retiring, copying.
Reading for a group and claiming hand entries over; their second run would return others, so their caller is told.
Appending is not repeated here, nor what a subscription does: the write path and the subscription try for as long as
their settings say.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, TypeVar

import anyio

from papyra_streams import backoff
from papyra_streams.domain.entries import Entry, EntryId, RawEntry
from papyra_streams.errors import Indeterminate, OutOfMemory, Unavailable
from papyra_streams.ports import (
    Abandonment,
    Appended,
    BadEntry,
    Capabilities,
    Confirmation,
    ConsumerState,
    CopyStep,
    DanglingPage,
    DeadEntry,
    Delivered,
    Demands,
    GroupStanding,
    GroupState,
    Joined,
    Member,
    PendingEntry,
    PendingState,
    ProducerMark,
    Replayed,
    Settled,
    StreamStore,
    TrimOutcome,
)

ResultT = TypeVar("ResultT")

Revive = Callable[[], Awaitable[None]]
"""Tries to bring back a server that could not be reached; raises nothing."""

# A server that restarts or fails over is back within two seconds or so; a caller should not wait much longer.
_ATTEMPTS = 7
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0
# A server that accepts a command and does not answer costs a whole timeout each time; seconds after which that ends.
_PATIENCE = 10.0

CERTAINLY_NOT_RUN = (Unavailable, OutOfMemory)


def delays() -> Iterator[float]:
    """Return the seconds to wait before each further attempt."""
    return islice(backoff.delays(_FIRST_DELAY, _LONGEST_DELAY), _ATTEMPTS - 1)


async def _nobody_to_revive() -> None:
    pass


class RetryingStore(StreamStore):
    """A store that repeats, a bounded number of times, what may be repeated."""

    def __init__(
        self,
        store: StreamStore,
        *,
        revive: Revive = _nobody_to_revive,
    ) -> None:
        self._store = store
        self._revive = revive

    @property
    def event_loops(self) -> frozenset[str]:
        return self._store.event_loops

    async def append(
        self, stream: str, payloads: Sequence[bytes], *, mark: ProducerMark, confirmation: Confirmation | None = None
    ) -> Appended:
        return await self._once(lambda: self._store.append(stream, payloads, mark=mark, confirmation=confirmation))

    async def newest(self, stream: str, *, count: int, before: EntryId | None = None) -> list[Entry]:
        return await self._again(lambda: self._store.newest(stream, count=count, before=before))

    async def oldest(self, stream: str, *, count: int, after: EntryId | None = None) -> list[Entry]:
        return await self._again(lambda: self._store.oldest(stream, count=count, after=after))

    async def count(self, stream: str, *, before: EntryId) -> int:
        return await self._again(lambda: self._store.count(stream, before=before))

    async def length(self, stream: str) -> int:
        return await self._again(lambda: self._store.length(stream))

    async def memory(self, stream: str) -> int | None:
        return await self._again(lambda: self._store.memory(stream))

    async def create_group(self, stream: str, group: str, *, start: str) -> None:
        await self._if_not_run(lambda: self._store.create_group(stream, group, start=start))

    async def read_group(
        self, stream: str, group: str, consumer: str, *, count: int, after: str = ">", block_ms: int | None = None
    ) -> list[Entry]:
        return await self._if_not_run(
            lambda: self._store.read_group(stream, group, consumer, count=count, after=after, block_ms=block_ms)
        )

    async def acknowledge(self, stream: str, group: str, ids: Sequence[EntryId]) -> int:
        return await self._again(lambda: self._store.acknowledge(stream, group, ids))

    async def claim(
        self, stream: str, group: str, consumer: str, *, min_idle_ms: int, ids: Sequence[EntryId]
    ) -> list[Entry]:
        return await self._if_not_run(
            lambda: self._store.claim(stream, group, consumer, min_idle_ms=min_idle_ms, ids=ids)
        )

    async def pending(self, stream: str, group: str) -> PendingState:
        return await self._again(lambda: self._store.pending(stream, group))

    async def groups(self, stream: str) -> list[GroupState]:
        return await self._again(lambda: self._store.groups(stream))

    async def lag(self, stream: str, group: str) -> int | None:
        return await self._again(lambda: self._store.lag(stream, group))

    def place(self, stream: str) -> int:
        return self._store.place(stream)

    async def join(
        self, member: Member, *, start: str, on_loss: Literal["resume", "replay", "fail"], expected: bool
    ) -> Joined:
        return await self._once(lambda: self._store.join(member, start=start, on_loss=on_loss, expected=expected))

    async def take(
        self, members: Sequence[Member], *, count: int, block_ms: int = 0, claim_idle_ms: int | None = None
    ) -> list[Delivered]:
        return await self._once(
            lambda: self._store.take(members, count=count, block_ms=block_ms, claim_idle_ms=claim_idle_ms)
        )

    async def take_stuck(self, member: Member, *, count: int, min_idle_ms: int, pause_ms: int) -> list[Delivered]:
        return await self._once(
            lambda: self._store.take_stuck(member, count=count, min_idle_ms=min_idle_ms, pause_ms=pause_ms)
        )

    async def take_pending(
        self, member: Member, *, count: int, after: EntryId, but: Collection[EntryId] = ()
    ) -> list[Delivered]:
        return await self._once(lambda: self._store.take_pending(member, count=count, after=after, but=but))

    async def take_again(self, member: Member, ids: Sequence[EntryId]) -> list[Delivered]:
        return await self._once(lambda: self._store.take_again(member, ids))

    async def renew(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        return await self._once(lambda: self._store.renew(member, ids))

    async def settle(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        return await self._once(lambda: self._store.settle(member, ids))

    async def release(self, member: Member, idle_ms: Mapping[EntryId, int], *, to: str, counted: bool) -> Settled:
        return await self._once(lambda: self._store.release(member, idle_ms, to=to, counted=counted))

    async def bury(self, member: Member, dead: Sequence[DeadEntry], *, quarantine: str, moment: float) -> Settled:
        return await self._once(lambda: self._store.bury(member, dead, quarantine=quarantine, moment=moment))

    async def lead(self, member: Member, *, lease_ms: int) -> bool:
        return await self._once(lambda: self._store.lead(member, lease_ms=lease_ms))

    async def leave(self, member: Member, *, idle_ms: int = 0) -> bool:
        return await self._again(lambda: self._store.leave(member, idle_ms=idle_ms))

    async def consumers(self, stream: str, group: str) -> list[ConsumerState]:
        return await self._again(lambda: self._store.consumers(stream, group))

    async def pending_entries(self, stream: str, group: str, *, count: int, after: EntryId) -> Sequence[PendingEntry]:
        return await self._again(lambda: self._store.pending_entries(stream, group, count=count, after=after))

    async def standing(self, stream: str, group: str) -> GroupStanding:
        return await self._again(lambda: self._store.standing(stream, group))

    async def quarantined(self, quarantine: str, *, count: int, after: EntryId) -> list[RawEntry]:
        return await self._again(lambda: self._store.quarantined(quarantine, count=count, after=after))

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
        return await self._if_not_run(
            lambda: self._store.replay(stream, quarantine, quarantined, to=to, state=state, data=data)
        )

    async def drop(self, quarantine: str, ids: Sequence[EntryId]) -> int:
        return await self._if_not_run(lambda: self._store.drop(quarantine, ids))

    async def retire(
        self, stream: str, bad: Sequence[BadEntry], *, quarantine: str | None, moment: float
    ) -> Sequence[EntryId]:
        return await self._again(lambda: self._store.retire(stream, bad, quarantine=quarantine, moment=moment))

    async def trim(
        self,
        stream: str,
        *,
        keep_from: EntryId,
        approximate: bool,
        abandonment: Abandonment | None = None,
    ) -> TrimOutcome:
        return await self._again(
            lambda: self._store.trim(stream, keep_from=keep_from, approximate=approximate, abandonment=abandonment)
        )

    async def demands(self, stream: str, *, abandonment: Abandonment | None = None) -> Demands:
        return await self._again(lambda: self._store.demands(stream, abandonment=abandonment))

    async def dangling(self, stream: str, group: str, *, count: int, after: EntryId, forget: bool) -> DanglingPage:
        return await self._again(lambda: self._store.dangling(stream, group, count=count, after=after, forget=forget))

    async def copy_entries(self, stream: str, copy: str, *, is_begun: bool) -> CopyStep | None:
        # Where the server is full, a copy that waits for better times is what fills it.
        return await self._repeat(
            lambda: self._store.copy_entries(stream, copy, is_begun=is_begun), (Unavailable, Indeterminate)
        )

    async def compare(self, stream: str, copy: str, *, after: EntryId | None) -> EntryId | bool | None:
        return await self._again(lambda: self._store.compare(stream, copy, after=after))

    async def swap(
        self, stream: str, copy: str, *, free: str
    ) -> Literal["swapped", "behind", "differs", "pending"] | None:
        return await self._repeat(lambda: self._store.swap(stream, copy, free=free), (Unavailable,))

    async def discard(self, copy: str) -> None:
        await self._again(lambda: self._store.discard(copy))

    async def clock_ms(self) -> int:
        return await self._again(self._store.clock_ms)

    async def ping(self) -> None:
        await self._again(self._store.ping)

    async def capabilities(self, *, near: str = "") -> Capabilities:
        return await self._again(lambda: self._store.capabilities(near=near))

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _once(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        try:
            return await call()
        except Unavailable:
            await self._revive()
            raise

    async def _again(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        return await self._repeat(call, (*CERTAINLY_NOT_RUN, Indeterminate))

    async def _if_not_run(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        return await self._repeat(call, CERTAINLY_NOT_RUN)

    async def _repeat(self, call: Callable[[], Awaitable[ResultT]], passing: tuple[type[Exception], ...]) -> ResultT:
        begun = anyio.current_time()
        for delay in delays():
            try:
                return await call()
            except passing as error:
                if anyio.current_time() - begun > _PATIENCE:
                    raise
                if isinstance(error, Unavailable):
                    await self._revive()
                await anyio.sleep(delay)
        return await call()
