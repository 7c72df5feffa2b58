"""What reads for a subscription: `Sharing` or `Leading`."""

from collections.abc import Iterable

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.ports import StreamStore

from .delivery import Delivery
from .hand import Hand
from .reception import Reception
from .source import Source

# What one read gives of a stream at most: the next is read while these are handled and acknowledged.
MOST_AT_ONCE = 500
# Where not every stream has a slot, they are read by turns: how long one may keep the others waiting.
LONGEST_TURN_MS = 100
_SHORTEST_TURN_MS = 10


class Turns:
    """Tells whether a read of some streams may wait: only where all of them were found empty, one after another.

    Otherwise a quiet stream would hold up a busy one.
    """

    def __init__(self) -> None:
        self._found_empty = 0

    def longest_wait_ms(self, longest_ms: int, *, reading: int, of: int) -> int:
        """Return how long a read of so many of the streams may wait; a round of waits takes as long as one turn."""
        if reading == of:
            return longest_ms
        if self._found_empty < of:
            return 0
        return min(longest_ms, max(_SHORTEST_TURN_MS, LONGEST_TURN_MS * reading // of))

    def note(self, reading: int, *, has_found: bool) -> None:
        """Note what a read came to."""
        self._found_empty = 0 if has_found else self._found_empty + reading


class Intake:
    """Reads once, as much as there is room for, or waits a little. What it need not do is nothing here."""

    def __init__(self, store: StreamStore, cfg: SubscriptionConfig, hand: Hand, reception: Reception) -> None:
        """Read from a store into a hand."""
        self._store = store
        self._cfg = cfg
        self._hand = hand
        self._reception = reception

    async def turn(self) -> None:
        """Read what there is; called at least as often as stuck entries are to be looked for."""
        raise NotImplementedError

    async def renew(self) -> None:
        """Keep what this worker alone may do, if it has anything of the kind."""

    def restart(self) -> None:
        """Begin anew after a fault: what was given may not have arrived."""

    def rejoin(self) -> None:
        """Begin anew where a group was missing: what else it had is gone as well."""

    def forget(self, source: Source, after: EntryId) -> None:
        """Note that a stream's group may have been lost and created anew: it goes on after an id."""

    def step_back(self, lost: Iterable[Delivery], behind: Iterable[Delivery]) -> None:
        """Read those behind again that were never handed out; so may be what is on its way since some were lost."""

    def stop(self) -> None:
        """Begin no further read."""

    async def finish(self) -> None:
        """Take in what is still on its way."""
