"""A store in memory that keeps the ports' promises, counts what it is asked, and fails as it is told."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from papyra_streams.domain.entries import Entry, EntryId, RawEntry
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
    DeliveryPort,
    Demand,
    Demands,
    GroupStanding,
    GroupState,
    Joined,
    Member,
    MembershipPort,
    Obstacle,
    PendingEntry,
    PendingState,
    ProducerMark,
    QuarantinePort,
    RebuildingPort,
    Replayed,
    Settled,
    StreamStore,
    TrimOutcome,
)


@dataclass(frozen=True, slots=True)
class Append:
    """One call of `append`."""

    stream: str
    payloads: tuple[bytes, ...]
    mark: ProducerMark
    confirmation: Confirmation | None

    @property
    def size(self) -> int:
        """How many bytes it carries."""
        return sum(map(len, self.payloads))


async def nothing() -> None:
    """Wait for nothing."""


class NoSubscriptions(DeliveryPort, MembershipPort, QuarantinePort):
    """Gives nobody an entry: for tests that have no subscriptions."""

    async def join(
        self, member: Member, *, start: str, on_loss: Literal["resume", "replay", "fail"], expected: bool
    ) -> Joined:
        raise NotImplementedError

    async def take(
        self, members: Sequence[Member], *, count: int, block_ms: int = 0, claim_idle_ms: int | None = None
    ) -> list[Delivered]:
        raise NotImplementedError

    async def take_stuck(self, member: Member, *, count: int, min_idle_ms: int, pause_ms: int) -> list[Delivered]:
        raise NotImplementedError

    async def take_pending(
        self, member: Member, *, count: int, after: EntryId, but: Collection[EntryId] = ()
    ) -> list[Delivered]:
        raise NotImplementedError

    async def take_again(self, member: Member, ids: Sequence[EntryId]) -> list[Delivered]:
        raise NotImplementedError

    async def renew(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        raise NotImplementedError

    async def settle(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        raise NotImplementedError

    async def release(self, member: Member, idle_ms: Mapping[EntryId, int], *, to: str, counted: bool) -> Settled:
        raise NotImplementedError

    async def lead(self, member: Member, *, lease_ms: int) -> bool:
        raise NotImplementedError

    async def leave(self, member: Member, *, idle_ms: int = 0) -> bool:
        raise NotImplementedError

    async def consumers(self, stream: str, group: str) -> list[ConsumerState]:
        raise NotImplementedError

    async def pending_entries(self, stream: str, group: str, *, count: int, after: EntryId) -> Sequence[PendingEntry]:
        raise NotImplementedError

    async def standing(self, stream: str, group: str) -> GroupStanding:
        raise NotImplementedError

    async def bury(self, member: Member, dead: Sequence[DeadEntry], *, quarantine: str, moment: float) -> Settled:
        raise NotImplementedError

    async def quarantined(self, quarantine: str, *, count: int, after: EntryId) -> list[RawEntry]:
        raise NotImplementedError

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
        raise NotImplementedError

    async def drop(self, quarantine: str, ids: Sequence[EntryId]) -> int:
        raise NotImplementedError


class NoRebuilding(RebuildingPort):
    """Rebuilds nothing: for tests that do not either."""

    async def copy_entries(self, stream: str, copy: str, *, is_begun: bool) -> CopyStep | None:
        raise NotImplementedError

    async def compare(self, stream: str, copy: str, *, after: EntryId | None) -> EntryId | bool | None:
        raise NotImplementedError

    async def swap(
        self, stream: str, copy: str, *, free: str
    ) -> Literal["swapped", "behind", "differs", "pending"] | None:
        raise NotImplementedError

    async def discard(self, copy: str) -> None:
        raise NotImplementedError


class FakeStore(NoSubscriptions, NoRebuilding, StreamStore):
    """Streams without a server. Only what has no consumer groups is kept; no test here needs any."""

    event_loops = frozenset({"asyncio", "trio"})

    def __init__(self) -> None:
        self.streams: defaultdict[str, list[Entry]] = defaultdict(list)
        self.appends: list[Append] = []
        self.trims: list[tuple[str, EntryId]] = []
        self.retired_at: list[float] = []
        self.entries_read = 0
        self.before_append: Callable[[], Awaitable[None]] = nothing
        """Awaited before a batch is stored."""
        self.after_append: Callable[[], Awaitable[None]] = nothing
        """Awaited after a batch is stored, before the caller knows."""
        self.before_trim: Callable[[], None] = lambda: None
        """Called before entries are trimmed."""
        self.obstacle: Obstacle | None = None
        """What every trim reports to have met."""
        self.tells_memory = True
        self.moment_ms = 2**53
        """The server's clock."""
        self.groups_behind: Sequence[Demand] = ()
        """What groups need."""
        self.refusals: deque[Exception] = deque()
        """Raised one by one instead of storing a batch."""
        self.outage: Exception | None = None
        """Raised instead of storing a batch, until it is taken away."""
        self.confirms = True
        self.syncs = True
        self._marks: dict[str, int] = {}

    def put(self, stream: str, entries: Iterable[Entry]) -> None:
        """Add entries as they are, in order."""
        self.streams[stream] += entries

    def payloads(self, stream: str) -> list[bytes]:
        """Return what the entries of a stream carry, oldest first."""
        return [entry.fields[b"data"] for entry in self.streams[stream] if entry.fields is not None]

    # -- append, as append.lua does it

    async def append(
        self, stream: str, payloads: Sequence[bytes], *, mark: ProducerMark, confirmation: Confirmation | None = None
    ) -> Appended:
        self.appends.append(Append(stream, tuple(payloads), mark, confirmation))
        await self.before_append()
        if self.refusals:
            raise self.refusals.popleft()
        if self.outage:
            raise self.outage
        appended = self._append_once(stream, payloads, mark)
        await self.after_append()
        return Appended(appended, confirmed=self.confirms)

    def _append_once(self, stream: str, payloads: Sequence[bytes], mark: ProducerMark) -> int:
        new = payloads[max(0, self._marks.get(mark.key, 0) - mark.first + 1) :]
        if new:
            self._marks[mark.key] = mark.first + len(payloads) - 1
        first = len(self.streams[stream]) + 1
        self.put(stream, (Entry(EntryId(first + n, 0), {b"data": payload}) for n, payload in enumerate(new)))
        return len(new)

    # -- read

    async def newest(self, stream: str, *, count: int, before: EntryId | None = None) -> list[Entry]:
        older = [entry for entry in self.streams[stream] if before is None or entry.id < before]
        page = older[::-1][:count]
        self.entries_read += len(page)
        return page

    async def oldest(self, stream: str, *, count: int, after: EntryId | None = None) -> list[Entry]:
        page = [entry for entry in self.streams[stream] if after is None or entry.id > after][:count]
        self.entries_read += len(page)
        return page

    async def count(self, stream: str, *, before: EntryId) -> int:
        return sum(entry.id < before for entry in self.streams[stream])

    async def length(self, stream: str) -> int:
        return len(self.streams[stream])

    async def memory(self, stream: str) -> int | None:
        return sum(map(len, self.payloads(stream))) if self.tells_memory else None

    # -- maintenance

    async def retire(
        self, stream: str, bad: Sequence[BadEntry], *, quarantine: str | None, moment: float
    ) -> Sequence[EntryId]:
        self.retired_at.append(moment)
        ids = {entry.id for entry in bad}
        gone = [entry for entry in self.streams[stream] if entry.id in ids]
        self.streams[stream] = [entry for entry in self.streams[stream] if entry.id not in ids]
        if quarantine:
            self.put(quarantine, gone)
        return [entry.id for entry in gone]

    async def trim(
        self,
        stream: str,
        *,
        keep_from: EntryId,
        approximate: bool,
        abandonment: Abandonment | None = None,
    ) -> TrimOutcome:
        assert abandonment is None
        self.before_trim()
        self.trims.append((stream, keep_from))
        assert not approximate
        removed = sum(entry.id < keep_from for entry in self.streams[stream])
        del self.streams[stream][:removed]
        return TrimOutcome(removed=removed, obstacle=self.obstacle)

    async def demands(self, stream: str, *, abandonment: Abandonment | None = None) -> Demands:  # noqa: ARG002 -- what anybody needs is set by the test
        return Demands(moment_ms=self.moment_ms, groups=self.groups_behind)

    async def dangling(self, stream: str, group: str, *, count: int, after: EntryId, forget: bool) -> DanglingPage:
        raise NotImplementedError

    # -- health

    async def clock_ms(self) -> int:
        return self.moment_ms

    async def ping(self) -> None:
        """Answer."""

    async def capabilities(self, *, near: str = "") -> Capabilities:  # noqa: ARG002 -- all servers are alike
        return Capabilities(lag=False, fsync=self.syncs, claiming_reads=False, trio=True)

    async def aclose(self) -> None:
        """Have nothing to close."""

    # -- groups

    async def create_group(self, stream: str, group: str, *, start: str) -> None:
        raise NotImplementedError

    async def read_group(
        self, stream: str, group: str, consumer: str, *, count: int, after: str = ">", block_ms: int | None = None
    ) -> list[Entry]:
        raise NotImplementedError

    async def acknowledge(self, stream: str, group: str, ids: Sequence[EntryId]) -> int:
        raise NotImplementedError

    async def claim(
        self, stream: str, group: str, consumer: str, *, min_idle_ms: int, ids: Sequence[EntryId]
    ) -> list[Entry]:
        raise NotImplementedError

    async def pending(self, stream: str, group: str) -> PendingState:
        raise NotImplementedError

    async def groups(self, _stream: str) -> list[GroupState]:
        return []

    async def lag(self, stream: str, group: str) -> int | None:
        raise NotImplementedError


def stored(kind: str, milliseconds: int, timestamp: float | None = None, **fields: Any) -> Entry:
    """Return a readable entry, recorded when its id says unless a timestamp is given."""
    row: Mapping[str, Any] = {
        "kind": kind,
        "timestamp": milliseconds / 1000 if timestamp is None else timestamp,
        **fields,
    }
    return Entry(EntryId(milliseconds, 0), {b"data": orjson.dumps(row)})


def bad(milliseconds: int) -> Entry:
    """Return an entry that no read can return."""
    return Entry(EntryId(milliseconds, 0), {b"data": b"no json"})
