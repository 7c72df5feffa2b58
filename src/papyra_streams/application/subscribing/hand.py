"""What a worker has in hand: read, and neither settled nor given up. Never more than there are slots."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter

import anyio
import anyio.lowlevel

from papyra_streams.domain.entries import EntryId
from papyra_streams.tasks import DetachedTask, spawn

from .delivery import Delivery, State
from .order import Order
from .source import Source

_entry_id = attrgetter("entry_id")


class Hand:
    """Keeps the deliveries, hands them out in their order, and tells where there is room for more."""

    def __init__(self, slots: int, order: Order) -> None:
        self.slots = slots
        self._order = order
        self._held: dict[Source, dict[EntryId, Delivery]] = {}
        self._size = 0
        self._stranded: dict[Source, set[Delivery]] = {}
        self._takers: deque[anyio.Event] = deque()
        self._has_ended = False
        self._is_closed = False
        self.failed = anyio.Event()
        self.error: Exception | None = None
        self._rousing: DetachedTask[None] | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called where there may be more room."""
        self.may_grow: Callable[[], bool] = lambda: False
        self.grow: Callable[[], None] = lambda: None
        """Called where something may be handed out and nobody waits for it."""

    @property
    def free(self) -> int:
        """How many more may be read."""
        return max(0, self.slots - self._size)

    @property
    def most_free(self) -> int:
        """How many more may be read of streams of which nothing is stranded."""
        return self.slots - self._size + self.stranded_of(self._stranded)

    def stranded_of(self, sources: Iterable[Source]) -> int:
        """How many of some streams cannot be settled, or wait for one of these, and so take no room from others."""
        return sum(len(self._stranded[source]) for source in sources if source in self._stranded)

    def strand(self, deliveries: Iterable[Delivery]) -> None:
        """Note that some are done with, but that their server does not answer."""
        held = [each for each in deliveries if self._held.get(each.source, {}).get(each.entry_id) is each]
        for delivery in (*held, *self._order.behind(held)):
            self._stranded.setdefault(delivery.source, set()).add(delivery)
        self.changed()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in hand."""
        return not self._size

    def of(self, source: Source) -> list[Delivery]:
        """Return those of one stream."""
        return list(self._held.get(source, {}).values())

    def all(self) -> list[Delivery]:
        """Return them all."""
        return [delivery for held in self._held.values() for delivery in held.values()]

    def by_id(self, source: Source) -> Mapping[EntryId, Delivery]:
        """Return those of one stream by their ids; they change with what is in hand."""
        return self._held.setdefault(source, {})

    def add(self, source: Source, deliveries: Sequence[Delivery]) -> None:
        """Take what was read of a stream in hand."""
        held = self._held.setdefault(source, {})
        before = len(held)
        held.update(zip(map(_entry_id, deliveries), deliveries, strict=True))
        self._order.put(deliveries)
        self._size += len(held) - before
        self._wake_taker()

    async def take(self, most: int) -> list[Delivery]:
        """Wait for deliveries and hand out up to so many; none once there will be no more.

        :raises StreamsError: what ended the reading, after what was read before
        """
        while not self._is_closed:
            batch = self._order.next(most)
            if batch:
                if self._order.is_ready:
                    self._rouse()
                return batch
            if self._has_ended and self._order.is_over:
                break
            await self._wait_for_turn()
        self._wake_taker()
        if self.error:
            raise self.error
        return []

    def _rouse(self) -> None:
        """Have others take the rest, unless whoever takes now does so at once."""
        if (self._takers or self.may_grow()) and (self._rousing is None or self._rousing.done):
            self._rousing = spawn(self._rouse_others, name="papyra-streams rouse")

    async def _rouse_others(self) -> None:
        # Handlers that wait for nothing are done before this goes on, and wake nobody.
        await anyio.lowlevel.checkpoint()
        while self._order.is_ready and (self._takers or self.may_grow()):
            self._wake_taker()
            await anyio.lowlevel.checkpoint()

    async def _wait_for_turn(self) -> None:
        turn = anyio.Event()
        self._takers.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._wake_taker()
            else:
                self._takers.remove(turn)
            raise

    def first_of_each(self, deliveries: Iterable[Delivery], most: int, left: dict[Hashable, int]) -> list[Delivery]:
        """Find those among some to be added that would be handed out first, as `Order.first_of_each` does."""
        return self._order.first_of_each(deliveries, most, left)

    def behind(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Find those in hand that must not be handed out before some, as `Order.behind` does."""
        return self._order.behind(deliveries)

    def keep(self, delivery: Delivery) -> None:
        """Note that one stays in hand, to be handed out anew later."""
        delivery.conclude(State.RETURNED)
        self._wake_taker()

    def replace(self, delivery: Delivery) -> None:
        """Hand out an entry anew that waits in hand for that, unless it was lost meanwhile, and read again."""
        held = self._held.get(delivery.source, {})
        before = held.get(delivery.entry_id)
        if before is not None and before.state is State.RETURNED:
            held[delivery.entry_id] = delivery
            self._unstrand([before])
            self._order.put([delivery])
            self._wake_taker()

    def conclude(self, deliveries: Iterable[Delivery], state: State, error: Exception | None = None) -> list[Delivery]:
        """Let go of some that are settled, or lost; return them without those that had been let go of before."""
        let_go: list[Delivery] = []
        concluded: list[Delivery] = []
        deliveries = [*deliveries]
        self._unstrand(deliveries)
        for delivery in deliveries:
            held = self._held[delivery.source]
            if held.get(delivery.entry_id) is delivery:
                del held[delivery.entry_id]
                let_go.append(delivery)
            elif delivery.state is not State.RETURNING:
                # Only of what is given back may the server have given it anew before that was known.
                continue
            concluded.append(delivery)
        self._size -= len(let_go)
        self._order.done(let_go)
        for delivery in concluded:
            delivery.conclude(state, error)
        self.changed()
        self._wake_taker()
        return concluded

    def end(self, error: Exception | None = None) -> None:
        """Note that nothing more will be read, and why if it is not for the asking."""
        self._has_ended = True
        self.error = self.error or error
        if self.error:
            self.failed.set()
        self._wake_taker()

    def close(self) -> None:
        """Hand out nothing any more, whatever is still in hand."""
        self._is_closed = True
        self.end()

    def _unstrand(self, deliveries: Sequence[Delivery]) -> None:
        if self._stranded:
            for delivery in (*deliveries, *self._order.behind(deliveries)):
                self._stranded.get(delivery.source, set()).discard(delivery)
            self._stranded = {source: stranded for source, stranded in self._stranded.items() if stranded}

    def _wake_taker(self) -> None:
        if self._takers:
            self._takers.popleft().set()
        elif self._order.is_ready and self.may_grow():
            self.grow()
