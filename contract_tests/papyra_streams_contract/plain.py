"""A stream, its groups and its retention as plain Python: what must be left is worked out from the rules alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.entries import EntryId

from .wire import Wire


@dataclass(frozen=True, slots=True)
class PlainEntry:
    """One entry: its id, its data, and whether reads return it. It is as old as its id says."""

    id: EntryId
    data: bytes
    is_good: bool


_BEGINNING = EntryId(0, 0)


@dataclass(slots=True)
class PlainGroup:
    """One group: the last entry it was given, and who holds what of that, after how many deliveries."""

    last_delivered: EntryId = _BEGINNING
    pending: dict[EntryId, tuple[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class PlainStream:
    """A stream, and the rules it obeys."""

    entries: list[PlainEntry] = field(default_factory=list)
    quarantine: list[PlainEntry] = field(default_factory=list)
    groups: dict[str, PlainGroup] = field(default_factory=dict)

    @property
    def ids(self) -> set[EntryId]:
        """The ids of its entries."""
        return {entry.id for entry in self.entries}

    # -- what happens to it

    def give(self, group: str, consumer: str, count: int) -> None:
        """Give a consumer the next entries."""
        state = self.groups[group]
        for entry in [entry for entry in self.entries if entry.id > state.last_delivered][:count]:
            state.pending[entry.id] = consumer, 1
            state.last_delivered = entry.id

    def claim(self, group: str, consumer: str, entry_id: EntryId) -> None:
        """Give a pending entry to another consumer."""
        pending = self.groups[group].pending
        pending[entry_id] = consumer, pending[entry_id][1] + 1

    def delete(self, ids: Sequence[EntryId]) -> None:
        """Delete entries, of which pending lists know nothing."""
        self.entries = [entry for entry in self.entries if entry.id not in ids]

    def recover(self, policy: RetentionPolicy, now: float, *, quarantining: bool) -> None:
        """Take out what reads skip and retention does not hide, off every list; and off the lists what is gone."""
        visible = self.visible(policy, now)
        bad = [entry for entry in self.entries if entry.id in visible and not entry.is_good]
        if quarantining:
            self.quarantine += bad
        self.delete([entry.id for entry in bad])
        self.forget_dangling()

    def compact(self, policy: RetentionPolicy, now: float) -> None:
        """Remove what is older than the oldest visible entry, and than what any group needs."""
        visible = self.visible(policy, now)
        if visible == self.ids:
            return
        floors = [min(visible), *map(self.needs, self.groups.values())] if visible else []
        floors = floors or [*map(self.needs, self.groups.values())]
        self.entries = [entry for entry in self.entries if floors and entry.id >= min(floors)]

    def forget_dangling(self) -> None:
        """Take off the pending lists what the stream no longer has."""
        there = self.ids
        for group in self.groups.values():
            group.pending = {each: row for each, row in group.pending.items() if each in there}

    # -- the rules

    def needs(self, group: PlainGroup) -> EntryId:
        """Return the oldest entry a group has yet to be given or to acknowledge."""
        return min((each for each in group.pending if each in self.ids), default=group.last_delivered.successor())

    def visible(self, policy: RetentionPolicy, now: float) -> set[EntryId]:
        """Return what reads return, and what they skip among it: age first, then count, then bytes."""
        young = [entry for entry in self.entries if not _is_old(entry, policy, now)]
        good = [entry for entry in young if entry.is_good]
        shown = good if policy.max_records is None else good[-policy.max_records :]
        edge = shown[0].id if len(shown) == policy.max_records else _BEGINNING
        if policy.max_total_bytes is not None:
            room = policy.max_total_bytes
            for position in range(len(shown) - 1, -1, -1):
                room -= len(shown[position].data)
                if room < 0:
                    edge = shown[position].id.successor()
                    break
        return {entry.id for entry in young if entry.id >= edge}


def _is_old(entry: PlainEntry, policy: RetentionPolicy, now: float) -> bool:
    return policy.max_age_seconds is not None and entry.id.seconds < now - policy.max_age_seconds


def good(entry_id: EntryId, filler: str = "") -> PlainEntry:
    """Make an entry that reads return."""
    row = {"kind": "event", "timestamp": entry_id.seconds, "payload": {"id": str(entry_id), "filler": filler}}
    return PlainEntry(entry_id, json.dumps(row).encode(), is_good=True)


async def lay_out(wire: Wire, stream: str, plain: PlainStream) -> None:
    """Put the entries on the server."""
    for entry in plain.entries:
        await wire("XADD", stream, str(entry.id), "data", entry.data)
