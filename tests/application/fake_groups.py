"""Consumer groups in memory that keep the ports' promises, and fail as they are told."""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import anyio
import anyio.lowlevel

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.errors import GroupMissing, Unavailable
from papyra_streams.ports import Capabilities, DeadEntry, Delivered, Joined, Member, PendingState, Settled

from .fakes import FakeStore

_START = EntryId(0, 0)


@dataclass(slots=True)
class Pending:
    """One row of a pending list."""

    consumer: str
    since: float
    deliveries: int

    @property
    def idle_ms(self) -> int:
        """For how long nobody has touched it."""
        return round((anyio.current_time() - self.since) * 1000)


class Group:
    """One group of one stream."""

    def __init__(self, after: EntryId) -> None:
        self.last_delivered = after
        self.pending: dict[EntryId, Pending] = {}


class FakeGroups(FakeStore):
    """Streams with one group each."""

    def __init__(self) -> None:
        super().__init__()
        self.groups_of: dict[str, Group] = {}
        self.claims = False
        self.places: dict[str, int] = {}
        """Where streams lie, if not all in one place."""
        self.calls: list[str] = []
        self.faults: dict[str, deque[Exception]] = {}
        """What a verb raises, one by one, before it does anything."""
        self.late_faults: dict[str, deque[Exception]] = {}
        """What a verb raises, one by one, after it has done everything."""
        self.outage: Exception | None = None
        self.away: set[str] = set()
        """Streams whose server cannot be reached."""
        self.silent: set[str] = set()
        """Streams whose server answers nothing."""
        self.leaders: dict[str, str] = {}
        self.buried: list[tuple[DeadEntry, str]] = []
        self.released: list[tuple[EntryId, int, str, bool]] = []
        self.gone: list[str] = []
        self._written = anyio.Event()

    def write(self, stream: str, payloads: Iterable[bytes]) -> list[EntryId]:
        """Add entries, and wake who waits for them."""
        first = len(self.streams[stream]) + 1
        new = [Entry(EntryId(first + n, 0), {b"data": payload}) for n, payload in enumerate(payloads)]
        self.put(stream, new)
        self._written.set()
        return [entry.id for entry in new]

    def pending_of(self, stream: str) -> dict[EntryId, Pending]:
        """Return the pending list."""
        return self.groups_of[stream].pending if stream in self.groups_of else {}

    def steal(self, stream: str, ids: Iterable[EntryId], consumer: str) -> None:
        """Claim for another consumer."""
        for entry_id in ids:
            self.pending_of(stream)[entry_id] = Pending(consumer, anyio.current_time(), 2)

    # -- deliveries

    async def join(
        self, member: Member, *, start: str, on_loss: Literal["resume", "replay", "fail"], expected: bool
    ) -> Joined:
        assert start == "0"
        await self._begin("join", member)
        if member.stream in self.groups_of:
            return Joined("found", self._group(member).last_delivered)
        if expected and on_loss == "fail":
            raise GroupMissing("The group is gone.")
        self.groups_of[member.stream] = Group(_START)
        self._end("join")
        return Joined("restored" if expected else "created", _START)

    async def take(
        self, members: Sequence[Member], *, count: int, block_ms: int = 0, claim_idle_ms: int | None = None
    ) -> list[Delivered]:
        assert count > 0
        assert len({self.place(member.stream) for member in members}) == 1
        await self._begin("take", members[0])
        taken = self._taken(members, count, claim_idle_ms)
        with anyio.move_on_after(block_ms / 1000):
            while not taken and block_ms:
                # Others wait, too.
                if self._written.is_set():
                    self._written = anyio.Event()
                await self._written.wait()
                taken = self._taken(members, count, claim_idle_ms)
        self._end("take")
        return taken

    def _taken(self, members: Sequence[Member], count: int, claim_idle_ms: int | None) -> list[Delivered]:
        taken = []
        for member in members:
            stuck = [] if claim_idle_ms is None else self._claimed(member, count, claim_idle_ms)
            group = self._group(member)
            new = [entry for entry in self.streams[member.stream] if entry.id > group.last_delivered]
            for entry in new[: count - len(stuck)]:
                group.last_delivered = entry.id
                group.pending[entry.id] = Pending(member.consumer, anyio.current_time(), 1)
                stuck.append(Delivered(member.stream, entry, 1, 0))
            taken += stuck
        return taken

    async def take_stuck(self, member: Member, *, count: int, min_idle_ms: int, pause_ms: int) -> list[Delivered]:
        assert count > 0
        assert pause_ms > 0
        await self._begin("take_stuck", member)
        taken = self._claimed(member, count, min_idle_ms)
        self._end("take_stuck")
        return taken

    async def take_pending(
        self, member: Member, *, count: int, after: EntryId, but: Collection[EntryId] = ()
    ) -> list[Delivered]:
        assert count > 0
        await self._begin("take_pending", member)
        left = self._settled(member, list(but)).done
        ids = [one for one in sorted(self._group(member).pending) if one > after and one not in left][:count]
        deliveries = {one: self._group(member).pending[one].deliveries for one in ids}
        taken = [one._replace(attempt=deliveries[one.entry.id]) for one in self._claim(member, ids)]
        for one, before in deliveries.items():
            self._group(member).pending[one].deliveries = max(before, 1)
        return taken

    async def take_again(self, member: Member, ids: Sequence[EntryId]) -> list[Delivered]:
        await self._begin("take_again", member)
        again = self._claim(member, sorted(self._settled(member, ids).done))
        self._end("take_again")
        return again

    def _claimed(self, member: Member, count: int, min_idle_ms: int) -> list[Delivered]:
        pending = self._group(member).pending
        return self._claim(member, [one for one in sorted(pending) if pending[one].idle_ms >= min_idle_ms][:count])

    def _claim(self, member: Member, ids: Iterable[EntryId]) -> list[Delivered]:
        entries = {entry.id: entry for entry in self.streams[member.stream]}
        pending = self._group(member).pending
        claimed = []
        for entry_id in ids:
            row = pending[entry_id]
            claimed.append(Delivered(member.stream, entries[entry_id], row.deliveries + 1, row.idle_ms))
            pending[entry_id] = Pending(member.consumer, anyio.current_time(), row.deliveries + 1)
        return claimed

    async def pending(self, stream: str, group: str) -> PendingState:
        assert group == "workers"
        await self._begin("pending", stream)
        if stream not in self.groups_of:
            raise GroupMissing("There is no such group.")
        rows = self.pending_of(stream)
        consumers = Counter(row.consumer for row in rows.values())
        return PendingState(
            count=len(rows), oldest=min(rows, default=None), newest=max(rows, default=None), consumers=consumers
        )

    async def renew(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        await self._begin("renew", member)
        outcome = self._settled(member, ids)
        for entry_id in outcome.done:
            row = self._group(member).pending[entry_id]
            self._group(member).pending[entry_id] = replace(row, since=anyio.current_time())
        return self._told(member, outcome)

    async def settle(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        await self._begin("settle", member)
        outcome = self._removed(member, ids)
        self._end("settle")
        return self._told(member, outcome)

    async def release(self, member: Member, idle_ms: Mapping[EntryId, int], *, to: str, counted: bool) -> Settled:
        await self._begin("release", member)
        outcome = self._settled(member, list(idle_ms))
        for entry_id in sorted(outcome.done):
            row = self._group(member).pending[entry_id]
            since = anyio.current_time() - idle_ms[entry_id] / 1000
            self._group(member).pending[entry_id] = Pending(to, since, row.deliveries - (not counted))
            self.released.append((entry_id, idle_ms[entry_id], to, counted))
        self._end("release")
        return self._told(member, outcome)

    async def bury(self, member: Member, dead: Sequence[DeadEntry], *, quarantine: str, moment: float) -> Settled:
        assert moment > 0
        await self._begin("bury", member)
        outcome = self._removed(member, [entry.id for entry in dead])
        self.buried += [(entry, quarantine) for entry in dead if entry.id in outcome.done]
        self._end("bury")
        return self._told(member, outcome)

    async def lead(self, member: Member, *, lease_ms: int) -> bool:
        assert lease_ms > 0
        await self._begin("lead", member)
        self._group(member)
        return self.leaders.setdefault(member.stream, member.consumer) == member.consumer

    async def leave(self, member: Member, *, idle_ms: int = 0) -> bool:
        assert idle_ms == 0
        await self._begin("leave", member)
        if self.leaders.get(member.stream) == member.consumer:
            del self.leaders[member.stream]
        if any(row.consumer == member.consumer for row in self._group(member).pending.values()):
            return False
        self.gone.append(member.consumer)
        return True

    def place(self, stream: str) -> int:
        return self.places.get(stream, 0)

    async def capabilities(self, *, near: str = "") -> Capabilities:  # noqa: ARG002 -- all servers are alike
        return Capabilities(lag=False, fsync=False, claiming_reads=self.claims, trio=True)

    def _told(self, member: Member, outcome: Settled) -> Settled:
        # What the stream no longer has is nobody else's.
        gone = outcome.gone & {entry.id for entry in self.streams[member.stream]}
        return Settled(done=outcome.done | (outcome.gone - gone), gone=gone, taken=outcome.taken)

    def _removed(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        outcome = self._settled(member, ids)
        for entry_id in outcome.done:
            del self._group(member).pending[entry_id]
        return outcome

    def _settled(self, member: Member, ids: Sequence[EntryId]) -> Settled:
        pending = self._group(member).pending
        own = frozenset(one for one in ids if one in pending and pending[one].consumer == member.consumer)
        gone = frozenset(ids) - pending.keys()
        return Settled(done=own, gone=gone, taken=frozenset(ids) - own - gone)

    def _group(self, member: Member) -> Group:
        if member.stream not in self.groups_of:
            raise GroupMissing("There is no such group.")
        return self.groups_of[member.stream]

    async def _begin(self, verb: str, where: Member | str) -> None:
        self.calls.append(verb)
        stream = where.stream if isinstance(where, Member) else where
        if stream in self.silent:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        if stream in self.away:
            raise Unavailable("The server is away.")
        if self.outage:
            raise self.outage
        if faults := self.faults.get(verb):
            raise faults.popleft()

    def _end(self, verb: str) -> None:
        if faults := self.late_faults.get(verb):
            raise faults.popleft()
