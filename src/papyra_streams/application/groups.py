"""What an operator asks of a consumer group."""

import math
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import chain
from typing import TypeVar

from papyra_streams.domain.arguments import check_seconds, is_number
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import ConsumerStatus, GroupStatus
from papyra_streams.domain.keys import Keyspace, check_name
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.errors import GroupMissing
from papyra_streams.ports import ConsumerState, GroupStanding, PendingEntry, StreamStore

from .history import PAGE
from .members import member

AnswerT = TypeVar("AnswerT")


class Groups:
    """Tells how groups stand, and removes consumers that are gone for good.

    The figures are taken one after another while the group works on, so that they need not add up. No server tells the
    highest attempt: it is looked for among all that is pending, page by page, in time that grows with that.
    """

    def __init__(self, store: StreamStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys

    async def status(self, kind: Kind, group: str) -> GroupStatus:
        """Return how the group stands, on all partitions together.

        :raises GroupMissing: if there is none
        """
        check_name("group", group)
        partitions = self._keys.partitions_of(kind)
        standings = await self._where_it_is(kind, partial(self._store.standing, group=group))
        # A partition that is new, and that nobody has read for this group.
        without = [await self._store.length(self._keys.stream(each)) for each in partitions if each not in standings]
        lags = [*(each.lag for each in standings.values()), *(None if length else 0 for length in without)]
        consumers = await self.consumers(kind, group)
        return GroupStatus(
            stream=self._keys.stream(partitions[0]),
            group=group,
            length=sum(each.length for each in standings.values()) + sum(without),
            lag=None if None in lags else sum(filter(None, lags)),
            pending=sum(each.pending for each in standings.values()),
            oldest_pending_age=max(filter(is_number, map(_age, standings.values())), default=None),
            highest_attempt=max((consumer.highest_attempt for consumer in consumers), default=0),
            consumers=consumers,
        )

    async def consumers(self, kind: Kind, group: str) -> tuple[ConsumerStatus, ...]:
        """Return the group's consumers, by name, each with what it has in all partitions together.

        :raises GroupMissing: if there is no such group
        """
        check_name("group", group)
        found = await self._where_it_is(kind, partial(self._consumers, group=group))
        by_name: defaultdict[str, list[ConsumerStatus]] = defaultdict(list)
        for consumer in chain.from_iterable(found.values()):
            by_name[consumer.name].append(consumer)
        return tuple(_together(by_name[name]) for name in sorted(by_name))

    async def remove_idle(self, kind: Kind, group: str, older_than: float) -> tuple[str, ...]:
        """Remove the consumers that hold nothing and were not heard of for so many seconds; return their names.

        :raises GroupMissing: if there is no such group
        """
        check_name("group", group)
        check_seconds("older_than", older_than)
        idle_ms = math.ceil(older_than * 1000)
        found = await self._where_it_is(kind, partial(self._store.consumers, group=group))
        everybody = {state.name for states in found.values() for state in states}
        busy = {state.name for states in found.values() for state in states if state.pending or state.idle_ms < idle_ms}
        # Each may have come back since it was listed; the step that removes it looks again.
        return tuple([name for name in sorted(everybody - busy) if await self._leave(found, group, name, idle_ms)])

    async def _leave(self, partitions: Iterable[Partition], group: str, name: str, idle_ms: int) -> bool:
        members = [member(self._keys, partition, group, name) for partition in partitions]
        return all([await self._store.leave(each, idle_ms=idle_ms) for each in members])

    async def _where_it_is(self, kind: Kind, ask: Callable[[str], Awaitable[AnswerT]]) -> dict[Partition, AnswerT]:
        """Ask for each partition that has the group.

        :raises GroupMissing: if none has it
        """
        answers: dict[Partition, AnswerT] = {}
        missing: GroupMissing | None = None
        for partition in self._keys.partitions_of(kind):
            try:
                answers[partition] = await ask(self._keys.stream(partition))
            except GroupMissing as error:
                missing = error
        if missing and not answers:
            raise missing
        return answers

    async def _consumers(self, stream: str, group: str) -> list[ConsumerStatus]:
        states = await self._store.consumers(stream, group)
        attempts = await self._highest_attempts(stream, group) if any(state.pending for state in states) else {}
        return [_status(state, attempts) for state in states]

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


def _together(parts: Sequence[ConsumerStatus]) -> ConsumerStatus:
    """Add up what one consumer has in several partitions; it was last heard of where that is not so long ago."""
    return ConsumerStatus(
        name=parts[0].name,
        pending=sum(part.pending for part in parts),
        idle_ms=min(part.idle_ms for part in parts),
        inactive_ms=min((part.inactive_ms for part in parts if part.inactive_ms is not None), default=None),
        highest_attempt=max(part.highest_attempt for part in parts),
    )
