"""What the workers noted, entry by entry."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from papyra_streams.domain.identifiers import PartitionedId
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import MOST_PARTITIONS, partitions_of

_ANY = partitions_of(EVENTS, MOST_PARTITIONS)


@dataclass(slots=True)
class Handling:
    """One worker at one entry. Times are nanoseconds of the clock that all processes of a machine share.

    ``ended`` -- None if it did not live to see the end
    ``done`` -- whether the end was not a cancellation
    """

    worker: int
    entry: PartitionedId
    attempt: int
    actor: str
    begun: int
    ended: int | None = None
    done: bool = False

    @property
    def seconds(self) -> float:
        """How long it took; 0 if the end is not known."""
        return 0.0 if self.ended is None else (self.ended - self.begun) / 1e9


@dataclass(slots=True)
class Ledger:
    """The notes of one worker, read as far as they go."""

    worker: int
    path: Path
    handlings: list[Handling] = field(default_factory=list)
    done: int = 0
    _read: int = 0
    _open: dict[str, Handling] = field(default_factory=dict)

    def read_on(self) -> None:
        """Read what was noted since."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            notes = file.read()
        whole = notes[: notes.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            self._take(*line.split(" "))

    def _take(self, entry: str, attempt: str, actor: str, what: str, at: str) -> None:
        if what == "begun":
            handling = Handling(self.worker, PartitionedId.parse(entry, _ANY), int(attempt), actor, int(at))
            self.handlings.append(handling)
            self._open[entry] = handling
            return
        handling = self._open.pop(entry)
        handling.ended, handling.done = int(at), what == "done"
        self.done += handling.done


def by_begin(ledgers: Iterable[Ledger]) -> list[Handling]:
    """Return everything that was noted, in the order in which it began."""
    return sorted(chain.from_iterable(ledger.handlings for ledger in ledgers), key=lambda handling: handling.begun)


def by_entry(handlings: Iterable[Handling]) -> dict[PartitionedId, list[Handling]]:
    """Sort handlings by their entry, each in the order given."""
    found: dict[PartitionedId, list[Handling]] = {}
    for handling in handlings:
        found.setdefault(handling.entry, []).append(handling)
    return found


def by_actor(handlings: Iterable[Handling]) -> dict[str, list[Handling]]:
    """Sort handlings by their actor, each in the order given."""
    found: dict[str, list[Handling]] = {}
    for handling in handlings:
        found.setdefault(handling.actor, []).append(handling)
    return found


def done_entries(handlings: Iterable[Handling]) -> set[PartitionedId]:
    """Return the entries that some worker was done with."""
    return {handling.entry for handling in handlings if handling.done}
