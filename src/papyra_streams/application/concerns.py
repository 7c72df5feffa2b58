"""What no recovery mends, and somebody should look at: groups and consumers nobody hears of, a growing quarantine."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import RELEASED
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import KINDS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import ScanWarning
from papyra_streams.errors import GroupMissing, PermissionDenied, UnsupportedOperation, WrongType
from papyra_streams.ports import ConsumerState, Demand, StreamStore

from .clock import Clock

logger = logging.getLogger("papyra_streams")

_DAY_MS = 24 * 3600 * 1000
_WEEK_MS = 7 * _DAY_MS
# Where names are made from a process's number there may be thousands.
_MOST_NAMES = 5


class Concerns:
    """Looks for them; writes nothing, but a line to the log for each."""

    def __init__(self, store: StreamStore, keys: Keyspace, clock: Clock, *, abandoned_after: float | None) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        # Without a setting, a week: few groups are read so rarely.
        self._silence_ms = _WEEK_MS if abandoned_after is None else round(abandoned_after * 1000)

    async def look(self) -> tuple[ScanWarning, ...]:
        """Return what there is, and log it; what cannot be looked at is no reason to do without the rest of a scan."""
        found: list[ScanWarning] = []
        for partition in self._keys.all_partitions:
            try:
                found += [warning async for warning in self._of(partition)]
            except (PermissionDenied, UnsupportedOperation, WrongType) as error:
                detail = (
                    f"The groups and the quarantine of {self._keys.stream(partition)} could not be looked at: {error}"
                )
                found.append(ScanWarning(subject="access", stream=self._keys.stream(partition), detail=detail))
        for kind in KINDS:
            found += [warning async for warning in self._beyond(kind)]
        for warning in found:
            logger.warning("A scan saw: %s", warning.detail)
        return tuple(found)

    async def _of(self, partition: Partition) -> AsyncIterator[ScanWarning]:
        stream = self._keys.stream(partition)
        demands = await self._store.demands(stream)
        for demand in demands.groups:
            # A group that has had everything may well be silent.
            if demand.needs is not None and (reason := self._why_abandoned(demand, demand.needs, demands.moment_ms)):
                yield _abandoned_group(stream, demand.group, demand.needs, reason)
            if silent := [each for each in await self._consumers(stream, demand.group) if self._is_abandoned(each)]:
                yield _abandoned_consumers(stream, demand.group, silent)
        if warning := await self._of_quarantine(partition):
            yield warning

    async def _beyond(self, kind: Kind) -> AsyncIterator[ScanWarning]:
        """Look at the stream that would be next if there were one more partition: there was, if it holds anything."""
        partitions = self._keys.partitions_of(kind)
        stream = self._keys.stream(Partition(kind, len(partitions)))
        # Whoever has no right to it never wrote to it.
        with suppress(PermissionDenied, WrongType):
            if count := await self._store.length(stream):
                detail = (
                    f"{stream} holds {count} records that no read finds: `partitions` was larger than"
                    f" {self._keys.partitions} before. Set it to what it was."
                )
                yield ScanWarning(subject="partitions", stream=stream, detail=detail)

    def _why_abandoned(self, demand: Demand, needs: EntryId, moment_ms: int) -> str:
        if demand.silence_ms is None:
            # Nobody knows for how long it has been without.
            waiting = moment_ms - needs.milliseconds
            return f"it has no consumer, and waits for {_duration(waiting)}" if waiting >= self._silence_ms else ""
        silent = f"nobody was heard of for {_duration(demand.silence_ms)}"
        return silent if demand.silence_ms >= self._silence_ms else ""

    def _is_abandoned(self, consumer: ConsumerState) -> bool:
        if consumer.name == RELEASED or consumer.idle_ms < self._silence_ms:
            return False
        # A server that does not tell when it was last given anything does not count a read that finds nothing either.
        return consumer.pending > 0 or consumer.inactive_ms is not None

    async def _consumers(self, stream: str, group: str) -> list[ConsumerState]:
        try:
            return await self._store.consumers(stream, group)
        except GroupMissing:
            return []

    async def _of_quarantine(self, partition: Partition) -> ScanWarning | None:
        quarantine = self._keys.quarantine(partition)
        newest = await self._store.newest(quarantine, count=1)
        age_ms = self._clock() * 1000 - newest[0].id.milliseconds if newest else _DAY_MS
        if age_ms >= _DAY_MS:
            return None
        count = await self._store.length(quarantine)
        detail = (
            f"The quarantine {quarantine} grows: it holds {count}, the newest of them {_duration(age_ms)} old."
            f" See them: papyra-streams quarantine list {partition.kind.stream}"
        )
        return ScanWarning(subject="quarantine", stream=quarantine, detail=detail)


def _abandoned_group(stream: str, group: str, needs: EntryId, reason: str) -> ScanWarning:
    detail = (
        f"The group {group!r} of {stream} looks abandoned: {reason}; it has yet to acknowledge {needs}."
        f" Start its workers, or remove it: XGROUP DESTROY {stream} {group}"
    )
    return ScanWarning(subject="group", stream=stream, group=group, detail=detail)


def _abandoned_consumers(stream: str, group: str, silent: Sequence[ConsumerState]) -> ScanWarning:
    longest = sorted(silent, key=lambda each: each.idle_ms, reverse=True)
    names = tuple(each.name for each in longest[:_MOST_NAMES])
    more = f" and {len(silent) - len(names)} more" if len(silent) > len(names) else ""
    held = sum(each.pending for each in silent)
    advice = f"They hold {held} entries: claim those." if held else "They hold nothing: remove them."
    detail = (
        f"Consumers of the group {group!r} of {stream} look abandoned, {', '.join(map(repr, names))}{more}:"
        f" not heard of for up to {_duration(longest[0].idle_ms)}. {advice}"
    )
    return ScanWarning(subject="consumers", stream=stream, group=group, consumers=names, detail=detail)


def _duration(milliseconds: float) -> str:
    seconds = max(milliseconds, 0) / 1000
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
