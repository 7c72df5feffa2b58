"""What reads for a subscription: `Sharing` or `Leading`."""

from collections.abc import Iterable, Sequence

import anyio

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.ports import Delivered, StreamStore

from .delivery import Delivery
from .reception import Reception, Refused
from .room import Share
from .source import Source

# What one read gives of a stream at most: the next is read while these are handled and acknowledged.
MOST_AT_ONCE = 500


class Intake:
    """Reads streams of one place once, as much as there is room for, or waits a little.

    What it need not do is nothing here.
    """

    def __init__(self, store: StreamStore, cfg: SubscriptionConfig, share: Share, reception: Reception) -> None:
        """Read from a store into a share of a hand."""
        self._store = store
        self._cfg = cfg
        self.share = share
        self._reception = reception
        self._stopping = anyio.Event()

    async def turn(self) -> bool:
        """Read what there is; called at least as often as stuck entries are to be looked for.

        :return: whether the server was asked for anything, which needs room
        """
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
        self._stopping.set()
        self.share.stop()

    async def finish(self) -> None:
        """Take in what is still on its way."""

    async def _has_room(self) -> bool:
        """Wait a while for room, and tell whether there is any to be read into."""
        if self._stopping.is_set():
            return False
        return await self.share.wait(self._cfg.sweep_interval) and not self._stopping.is_set()

    def _take_in(self, taken: Sequence[Delivered]) -> list[Refused]:
        """Put in hand what can be handled, and return the rest."""
        self.share.fill(len(taken))
        return self._reception.take_in(taken)

    async def _receive(self, taken: Sequence[Delivered]) -> None:
        """Put in hand what can be handled, and in quarantine what cannot."""
        await self._reception.refuse(self._take_in(taken))
