"""From what the server gave to deliveries in hand; what cannot be delivered goes to the quarantine."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import groupby
from math import inf
from operator import attrgetter
from typing import NamedTuple

from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.records import Record, Unreadable, read
from papyra_streams.garbage import uncollected
from papyra_streams.ports import DeadEntry, Delivered

from .delivery import DELIVERED_TOO_OFTEN, Delivery, Settler, State
from .hand import Hand
from .quarantining import Quarantining
from .source import Source

# What is known of an entry whose workers were killed over it.
_NOBODY_SAID_WHY = "no worker lived to say why"


class Refused(NamedTuple):
    """What was read of a stream and cannot be handled: what nobody can read, and what was delivered too often."""

    source: Source
    bad: list[Unreadable]
    dead: list[DeadEntry]

    @property
    def is_any(self) -> bool:
        """Whether there is something."""
        return bool(self.bad or self.dead)


class Reception:
    """Takes in what was read, each entry once."""

    def __init__(
        self,
        sources: Iterable[Source],
        hand: Hand,
        settler: Settler,
        quarantining: Quarantining,
        metrics: StreamsMetrics,
        *,
        max_deliveries: int | None,
    ) -> None:
        self._sources: Mapping[str, Source] = {source.stream: source for source in sources}
        self._hand = hand
        self._settler = settler
        self._quarantining = quarantining
        self._metrics = metrics
        self._most = inf if max_deliveries is None else max_deliveries

    def take_in(self, delivered: Sequence[Delivered]) -> list[Refused]:
        """Put in hand what can be handled, and return the rest for `refuse`."""
        with uncollected():
            return [
                refused
                for source, some in self._by_source(delivered)
                if (refused := self._put_in_hand(source, some)).is_any
            ]

    async def refuse(self, refused: Iterable[Refused]) -> None:
        """Put in quarantine what cannot be handled; the server may refuse that, and gives it again in time."""
        for each in refused:
            if each.bad:
                await self._quarantining.retire(each.source, each.bad)
            if each.dead:
                await self._settler.bury_unseen(each.source, each.dead)

    def _by_source(self, delivered: Sequence[Delivered]) -> Iterable[tuple[Source, Iterable[Delivered]]]:
        for stream, some in groupby(delivered, key=attrgetter("stream")):
            yield self._sources[stream], some

    def _put_in_hand(self, source: Source, delivered: Iterable[Delivered]) -> Refused:
        good: list[Delivery] = []
        bad: list[Unreadable] = []
        dead: list[DeadEntry] = []
        redelivered = 0
        held, kind = self._hand.by_id(source), source.kind
        for one in delivered:
            # What is in hand was claimed from this worker by itself, which was late to renew it: it goes on. Unless the
            # worker gives it back: then the server had it already.
            before = held.get(one.entry.id)
            if before is not None and before.state is not State.RETURNING:
                continue
            if one.attempt > self._most:
                dead.append(_exhausted(one))
            elif isinstance(record := read(kind, one.entry), Record):
                good.append(Delivery(source, record, one, self._settler))
                redelivered += one.attempt > 1
            else:
                bad.append(record)
        self._metrics.entries_delivered += len(good)
        self._metrics.entries_redelivered += redelivered
        self._hand.add(source, good)
        return Refused(source, bad, dead)

    def begun(
        self, source: Source, pending: Iterable[Delivered], most: int, left: dict[Hashable, int]
    ) -> list[EntryId]:
        """Find out which pending entries of a stream a former worker may have handed out, up to so many together.

        These are the first ones where nothing in hand was before them; not what was given back unused.

        :param left: kept from one page of them to the next
        """
        made = [each for one in pending if isinstance(each := self._delivery(source, one), Delivery)]
        return [each.entry_id for each in self._hand.first_of_each(made, most, left) if each.attempt]

    def again(self, one: Delivered) -> Delivery | Unreadable:
        """Make a delivery of an entry that is in hand and was given anew."""
        self._metrics.entries_delivered += 1
        self._metrics.entries_redelivered += 1
        return self._delivery(self._sources[one.stream], one)

    def _delivery(self, source: Source, one: Delivered) -> Delivery | Unreadable:
        record = read(source.kind, one.entry)
        return Delivery(source, record, one, self._settler) if isinstance(record, Record) else record


def _exhausted(one: Delivered) -> DeadEntry:
    attempts = one.attempt - 1
    return DeadEntry(id=one.entry.id, attempts=attempts, reason=DELIVERED_TOO_OFTEN, error=_NOBODY_SAID_WHY)
