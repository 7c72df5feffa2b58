"""What must hold between two looks at a stream, whatever was killed in between."""

from dataclasses import dataclass, field

import msgspec

from .arranging import SLOW
from .material import Fields
from .orders import RECORDS_KEPT, Operation
from .snapshots import GroupSnapshot, Snapshot
from .traffic import READ_AT_ONCE, READER, Ledger

# Entries that an approximate trim may leave: a node of the stream has a hundred.
_ENTRIES_OF_A_NODE = 100
# What the clocks of a server and a test may differ by, in milliseconds, with the time a restart takes.
_MARGIN = 1000
_SHOWN = 5

_ABOUT = (b"source", b"id", b"reason", b"timestamp")
_OF_A_GROUP = (b"group", b"attempts")


def position(entry_id: bytes) -> tuple[int, int]:
    """Return what entries are ordered by."""
    moment, sequence = entry_id.split(b"-")
    return int(moment), int(sequence)


@dataclass(slots=True, kw_only=True)
class Rules:
    """What an operation may do to a stream.

    ``bad`` -- the ids of all entries that no read can return
    """

    operation: Operation
    stream: str
    bad: set[bytes] = field(default_factory=set)

    @property
    def trims(self) -> bool:
        """Whether it removes what is old, and nothing else."""
        return self.operation == "compact"


def check_step(rules: Rules, before: Snapshot, after: Snapshot, ledger: Ledger | None = None) -> None:
    """Check that nothing has changed but what the operation may change, and what the ledger has."""
    ledger = ledger or Ledger()
    buried = _buried(rules, before, after)
    _check_entries(rules, before, after, ledger, buried)
    assert position(after.last_id) >= position(before.last_id)
    assert after.groups.keys() == before.groups.keys()
    for name, group in after.groups.items():
        # What was deleted, all groups have lost; all the rest is the slow one's.
        of_group = ledger if name == SLOW else Ledger(deleted=ledger.deleted, deleting=ledger.deleting)
        longest = round((after.answered_at - before.asked_at) * 1000)
        try:
            _check_standing(before.groups[name], group, of_group)
            _check_pending(rules, before, after, name, of_group)
            _check_idle(before.groups[name], group, longest)
        except AssertionError as error:
            error.add_note(f"in the group {name!r} of {rules.stream}")
            raise


def check_finished(rules: Rules, after: Snapshot, *, exact: bool) -> None:
    """Check that there is nothing left to do.

    :param exact: whether all goes that may go
    """
    if rules.trims:
        ids = list(after.entries)
        left = ids.index(_oldest_to_keep(rules, after, ids))
        assert left <= (0 if exact else _ENTRIES_OF_A_NODE - 1), f"{left} entries should have gone"
        return
    assert not after.entries.keys() & rules.bad
    for name, group in after.groups.items():
        assert group.pending.keys() <= after.entries.keys(), f"references are left in {name!r}"


# -- entries


def _buried(rules: Rules, before: Snapshot, after: Snapshot) -> dict[bytes, Fields]:
    assert after.quarantine[: len(before.quarantine)] == before.quarantine
    found: dict[bytes, Fields] = {}
    for row in after.quarantine:
        entry_id, fields = _unpacked(row, rules.stream.encode())
        assert entry_id not in found, f"{entry_id!r} is twice in the quarantine"
        found[entry_id] = fields
    assert rules.operation == "quarantine" or not found
    # What is there already was checked with the step before.
    return dict(list(found.items())[len(before.quarantine) :])


def _unpacked(row: Fields, stream: bytes) -> tuple[bytes, Fields]:
    names, values = row[::2], row[1::2]
    assert names[:4] == _ABOUT, row
    assert values[0] == stream, row
    assert values[2], row
    assert float(values[3]) > 0, row
    rest = 6 if names[4:6] == _OF_A_GROUP else 4
    if names[rest:] == (b"fields",):
        return values[1], tuple(word.encode() for word in msgspec.msgpack.decode(values[rest], type=list[str]))
    assert all(name.startswith(b"field:") for name in names[rest:]), row
    pairs = zip(names[rest:], values[rest:], strict=True)
    return values[1], tuple(word for name, value in pairs for word in (name.removeprefix(b"field:"), value))


def _check_entries(
    rules: Rules, before: Snapshot, after: Snapshot, ledger: Ledger, buried: dict[bytes, Fields]
) -> None:
    known = before.entries | ledger.written
    unknown = (after.entries.keys() | buried.keys()) - known.keys()
    if unknown:
        assert len(unknown) == 1, f"{len(unknown)} entries come from nowhere: {sorted(unknown)[:_SHOWN]}"
        assert ledger.writing is not None, f"{unknown} comes from nowhere"
        ledger.resolve(*unknown)
        known |= ledger.written
    rules.bad |= ledger.bad
    again = after.entries.keys() & ledger.deleted
    assert not again, f"{len(again)} were deleted, and are there again: {sorted(again)[:_SHOWN]}"
    _check_contents(known, after.entries, "in the stream")
    _check_contents(known, buried, "in the quarantine")
    assert list(after.entries) == [each for each in known if each in after.entries], "not in their order"
    twice = after.entries.keys() & buried.keys()
    assert not twice, f"{len(twice)} are in two places: {sorted(twice)[:_SHOWN]}"
    assert buried.keys() <= rules.bad, "a good entry is in the quarantine"
    missing = known.keys() - after.entries.keys() - buried.keys() - ledger.deleted - ledger.deleting
    _check_missing(rules, known, after, missing)


def _check_contents(known: dict[bytes, Fields], found: dict[bytes, Fields], where: str) -> None:
    wrong = [each for each, fields in found.items() if known[each] != fields]
    assert not wrong, f"{len(wrong)} are not whole {where}: {wrong[0]!r} was {known[wrong[0]]}, is {found[wrong[0]]}"


def _check_missing(rules: Rules, known: dict[bytes, Fields], after: Snapshot, missing: set[bytes]) -> None:
    if rules.trims:
        oldest = position(_oldest_to_keep(rules, after, list(known)))
        lost = {each for each in missing if position(each) >= oldest}
    else:
        lost = missing - rules.bad if rules.operation != "quarantine" else missing
    assert not lost, f"{len(lost)} are lost: {sorted(lost)[:_SHOWN]}"


def _oldest_to_keep(rules: Rules, after: Snapshot, ids: list[bytes]) -> bytes:
    """Return where begins what a read returns, or a group needs.

    :param ids: those there were in the meantime, in order: a read returns the fewer old ones the more there are
    """
    good = [each for each in ids if each not in rules.bad]
    needed = [good[-RECORDS_KEPT] if len(good) >= RECORDS_KEPT else ids[0]]
    for group in after.groups.values():
        needed += [each for each in group.pending if each in after.entries][:1]
        needed += [each for each in ids if position(each) > position(group.last)][:1]
    return min(needed, key=position)


# -- groups


def _check_standing(before: GroupSnapshot, after: GroupSnapshot, ledger: Ledger) -> None:
    last = max([before.last, *ledger.given], key=position)
    assert after.last == last or (ledger.is_reading and position(after.last) > position(last)), (after.last, last)
    others = after.consumers - before.consumers
    assert before.consumers <= after.consumers
    assert others <= ({READER} if ledger.given or ledger.is_reading else set()), others


def _check_pending(rules: Rules, before: Snapshot, after: Snapshot, name: str, ledger: Ledger) -> None:
    former, now = before.groups[name].pending, after.groups[name].pending
    expected = {each: (row.consumer, row.attempts) for each, row in former.items()}
    expected |= dict.fromkeys(ledger.given, (READER, 1))
    expected = {each: row for each, row in expected.items() if each not in ledger.acknowledged}
    found = {each: (row.consumer, row.attempts) for each, row in now.items()}

    wrong = [each for each in expected.keys() & found.keys() if expected[each] != found[each]]
    assert not wrong, [(each, expected[each], found[each]) for each in wrong[:_SHOWN]]
    more = found.keys() - expected.keys()
    if ledger.is_reading:
        last = max([before.groups[name].last, *ledger.given], key=position)
        assert all(found[each] == (READER, 1) and position(each) > position(last) for each in more), more
        assert len(more) <= READ_AT_ONCE
    else:
        assert not more, f"{len(more)} are pending again: {sorted(more)[:_SHOWN]}"
    # A reference to what had gone before may go, and must with what the operation takes out.
    gone = (former.keys() - before.entries.keys()) | ledger.deleted | ledger.deleting
    lost = expected.keys() - found.keys() - gone - ledger.acknowledging
    if not rules.trims:
        lost -= rules.bad - after.entries.keys()
    assert not lost, f"{len(lost)} are pending no more: {sorted(lost)[:_SHOWN]}"
    dangling = found.keys() - after.entries.keys() - gone
    assert not dangling, f"{len(dangling)} are pending still: {sorted(dangling)[:_SHOWN]}"


def _check_idle(before: GroupSnapshot, after: GroupSnapshot, longest: int) -> None:
    for each in before.pending.keys() & after.pending.keys():
        grown = after.pending[each].idle - before.pending[each].idle
        assert -_MARGIN <= grown <= longest + _MARGIN, f"{each!r} has been idle for {grown} ms longer"
