"""What an operator asks of a consumer group."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

from papyra_streams.domain.arguments import check_seconds
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import ConsumerStatus, GroupStatus
from papyra_streams.domain.keys import Keyspace, check_name
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.ports import ConsumerState, GroupStanding, MembershipPort, PendingEntry

from .history import PAGE
from .members import member


class Groups:
    """Tells how groups stand, and removes consumers that are gone for good.

    The figures are taken one after another while the group works on, so that they need not add up. No server tells the
    highest attempt: it is looked for among all that is pending, page by page, in time that grows with that.
    """

    def __init__(self, store: MembershipPort, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys

    async def status(self, kind: Kind, group: str) -> GroupStatus:
        """Return how the group stands.

        :raises GroupMissing: if there is none
        """
        check_name("group", group)
        stream = self._keys.stream(Partition(kind))
        standing = await self._store.standing(stream, group)
        consumers = await self.consumers(kind, group)
        return GroupStatus(
            stream=stream,
            group=group,
            length=standing.length,
            lag=standing.lag,
            pending=standing.pending,
            oldest_pending_age=_age(standing),
            highest_attempt=max((consumer.highest_attempt for consumer in consumers), default=0),
            consumers=consumers,
        )

    async def consumers(self, kind: Kind, group: str) -> tuple[ConsumerStatus, ...]:
        """Return the group's consumers, by name.

        :raises GroupMissing: if there is no such group
        """
        check_name("group", group)
        stream = self._keys.stream(Partition(kind))
        states = await self._store.consumers(stream, group)
        attempts: dict[str, int] = {}
        if any(state.pending for state in states):
            attempts = await self._highest_attempts(stream, group)
        return tuple(_status(state, attempts) for state in sorted(states, key=lambda state: state.name))

    async def remove_idle(self, kind: Kind, group: str, older_than: float) -> tuple[str, ...]:
        """Remove the consumers that hold nothing and were not heard of for so many seconds; return their names.

        :raises GroupMissing: if there is no such group
        """
        check_name("group", group)
        check_seconds("older_than", older_than)
        idle_ms = math.ceil(older_than * 1000)
        states = await self._store.consumers(self._keys.stream(Partition(kind)), group)
        idle = sorted(state.name for state in states if not state.pending and state.idle_ms >= idle_ms)
        # Each may have come back since it was listed; the step that removes it looks again.
        return tuple([name for name in idle if await self._leave(kind, group, name, idle_ms)])

    async def _leave(self, kind: Kind, group: str, name: str, idle_ms: int) -> bool:
        return await self._store.leave(member(self._keys, Partition(kind), group, name), idle_ms=idle_ms)

    async def _highest_attempts(self, stream: str, group: str) -> dict[str, int]:
        highest: dict[str, int] = {}
        async with aclosing(self._pending(stream, group)) as pending:
            async for entry in pending:
                highest[entry.consumer] = max(entry.deliveries, highest.get(entry.consumer, 0))
        return highest

    async def _pending(self, stream: str, group: str) -> AsyncGenerator[PendingEntry, None]:
        after = EntryId(0, 0)
        while True:
            page = await self._store.pending_entries(stream, group, count=PAGE, after=after)
            for entry in page:
                yield entry
            if len(page) < PAGE:
                return
            after = page[-1].id


def _age(standing: GroupStanding) -> float | None:
    if standing.oldest_pending is None:
        return None
    # An id that was not given out by the server's clock can lie ahead of it.
    return max(0, standing.moment_ms - standing.oldest_pending.milliseconds) / 1000


def _status(state: ConsumerState, attempts: dict[str, int]) -> ConsumerStatus:
    return ConsumerStatus(
        name=state.name,
        pending=state.pending,
        idle_ms=state.idle_ms,
        inactive_ms=state.inactive_ms,
        highest_attempt=attempts.get(state.name, 0),
    )
