"""What must hold of a group, whatever happened to its workers and its server."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from papyra_streams.domain.identifiers import PartitionedId

from .group import GroupOnServer, Standing
from .ledgers import Handling, by_actor, by_entry, done_entries
from .processes import Crew

KILL = "a kill"
HELD_UP = "a process that did not run"
UNEXPLAINED = "no reason"

_SHOWN = 10
# What a worker was given before a loss, it may begin a moment later.
_IN_HAND = 1_500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A time, in nanoseconds, in which acknowledgements or the group itself were lost, and what it was."""

    what: str
    begun: int
    ended: int

    def explains(self, earlier: Handling, later: Handling) -> bool:
        """Tell whether it may be the reason why an entry was handled again."""
        return earlier.begun <= self.ended + _IN_HAND and later.begun >= self.begun


@dataclass(slots=True, kw_only=True)
class Repeats:
    """How often entries were handled again, by cause, and how many of those were done before.

    ``unexplained`` -- a few of those that had no cause
    """

    causes: Counter[str] = field(default_factory=Counter)
    done_before: int = 0
    unexplained: list[tuple[Handling, Handling]] = field(default_factory=list)

    def __str__(self) -> str:
        causes = ", ".join(f"{count} for {cause}" for cause, count in self.causes.items()) or "none"
        return f"handled again: {causes}; {self.done_before} of them were done before"


def repeats(
    handlings: Sequence[Handling],
    kills: Mapping[int, int],
    losses: Sequence[Loss] = (),
    *,
    longest_handling: float = inf,
) -> Repeats:
    """Find a cause for everything that was handled again; the latest, where there are several.

    :param handlings: in the order in which they began
    :param longest_handling: after how many seconds it is plain that a worker's process got no time to run
    """
    found = Repeats()
    for of_entry in by_entry(handlings).values():
        for earlier, later in pairwise(of_entry):
            found.done_before += earlier.done
            reasons = [loss.what for loss in losses if loss.explains(earlier, later)]
            if earlier.seconds > longest_handling:
                reasons.append(HELD_UP)
            if kills.get(earlier.worker, later.begun + 1) <= later.begun:
                reasons.append(KILL)
            found.causes[reasons[-1] if reasons else UNEXPLAINED] += 1
            if not reasons and len(found.unexplained) < _SHOWN:
                found.unexplained.append((earlier, later))
    return found


async def check_acknowledged_were_handled(group: GroupOnServer, crew: Crew) -> None:
    """Check, while the workers work, that what is acknowledged was done, and that nothing is in two places."""
    standing, entries = await group.standing(), await group.entries()
    # What is acknowledged now was noted before.
    _check_standing(standing, entries, done_entries(crew.handlings()))


async def check_all_was_handled(group: GroupOnServer, crew: Crew) -> None:
    """Check that every entry was done, and that nothing is pending or quarantined."""
    standing, entries = await group.standing(), await group.entries()
    assert standing.has_finished, standing
    assert not standing.quarantined
    missing = entries - done_entries(crew.handlings())
    assert not missing, f"{len(missing)} of {len(entries)} were not handled: {sorted(missing)[:_SHOWN]}"


def _check_standing(standing: Standing, entries: set[PartitionedId], done: set[PartitionedId]) -> None:
    twice = standing.pending & standing.quarantined
    assert not twice, sorted(twice)[:_SHOWN]
    given = {each for each in entries if standing.was_given(each)}
    unhandled = given - standing.pending - standing.quarantined - done
    assert not unhandled, f"{len(unhandled)} were acknowledged and not handled: {sorted(unhandled)[:_SHOWN]}"


def check_order(handlings: Sequence[Handling]) -> None:
    """Check that no entry was begun, nor done, before those of its actor that came before it, on whichever worker.

    :param handlings: in the order in which they began
    """
    for of_actor in by_actor(handlings).values():
        _check_ascending([first for first, *_ in by_entry(of_actor).values()], "begun")
        done = sorted((each for each in of_actor if each.done), key=lambda each: each.ended or 0)
        _check_ascending([first for first, *_ in by_entry(done).values()], "done")


def _check_ascending(handlings: Sequence[Handling], what: str) -> None:
    for earlier, later in pairwise(handlings):
        assert earlier.entry < later.entry, f"{what} out of order:\n{earlier}\n{later}"


def check_one_at_a_time(handlings: Sequence[Handling]) -> None:
    """Check that no two workers, nor one worker twice, were at work for one actor; otherwise like `check_order`."""
    for of_actor in by_actor(handlings).values():
        for earlier, later in pairwise(of_actor):
            # One that was killed left no end; nobody saw it at work after that.
            assert earlier.ended is None or earlier.ended <= later.begun, (earlier, later)
            assert earlier.ended is not None or earlier.worker != later.worker, (earlier, later)
