"""In which order deliveries are handed out."""

from bisect import insort
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from operator import attrgetter
from typing import Protocol

from papyra_streams.domain.entries import EntryId

from .delivery import Delivery, State


class Order(Protocol):
    """Deliveries that wait to be handed out."""

    @property
    def is_over(self) -> bool:
        """Whether nothing will be handed out soon, if nothing is added."""

    @property
    def is_ready(self) -> bool:
        """Whether something may be handed out now."""

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Add some: new, or in place of the same entry that was handed out before."""

    def next(self, most: int) -> list[Delivery]:
        """Hand out the next, up to so many; none if nothing may be handed out now."""

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """Note that some need to be waited for no longer, whether they were handed out or not."""

    def behind(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Find those that wait for some, and must not be handed out before these."""

    def first_of_each(self, deliveries: Iterable[Delivery], most: int, left: dict[Hashable, int]) -> list[Delivery]:
        """Find those among some to be added that would be handed out first, up to so many of a lane.

        :param left: of how many each lane is still short, kept from one call to the next
        """


class AsTheyCome:
    """Hands out whatever there is."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing."""
        return not self._waiting

    @property
    def is_ready(self) -> bool:
        """Whether there is something."""
        return bool(self._waiting)

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Add some at the end."""
        self._waiting.extend(deliveries)

    def next(self, most: int) -> list[Delivery]:
        """Hand out the first ones, but for those that were lost while they waited."""
        waiting = self._waiting
        batch: list[Delivery] = []
        while waiting and not batch:
            first = [waiting.popleft() for _ in range(min(most, len(waiting)))]
            batch = [delivery for delivery in first if delivery.state is State.OPEN]
        return batch

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """Nobody waits for them."""

    def behind(self, deliveries: Iterable[Delivery]) -> list[Delivery]:  # noqa: ARG002 -- as its base says
        """Find none."""
        return []

    def first_of_each(
        self,
        deliveries: Iterable[Delivery],
        most: int,  # noqa: ARG002
        left: dict[Hashable, int],  # noqa: ARG002
    ) -> list[Delivery]:
        """Return them all: none waits for another."""
        return list(deliveries)


class _Lane:
    """What must be handled one after another: those that wait, by their ids, and those that were handed out."""

    def __init__(self) -> None:
        self.waiting: list[Delivery] = []
        self.out: dict[EntryId, Delivery] = {}

    @property
    def is_held_up(self) -> bool:
        """Whether one that was handed out is to come again first."""
        return any(delivery.state is State.RETURNED for delivery in self.out.values())

    def all_that_wait(self) -> list[Delivery]:
        """Return those that wait for their turn, or for their next attempt."""
        return [*self.waiting, *(delivery for delivery in self.out.values() if delivery.state is State.RETURNED)]


class InLanes:
    """Hands out deliveries of one lane together at most, and no more of it until they are done or put back."""

    def __init__(self, lane_of: Callable[[Delivery], Hashable]) -> None:
        self._lane_of = lane_of
        self._lanes: dict[Hashable, _Lane] = {}
        self._ready: deque[Hashable] = deque()

    @property
    def is_over(self) -> bool:
        """Whether all that waits is behind an entry that waits for its next attempt."""
        return not self._ready and not any(lane.waiting and not lane.is_held_up for lane in self._lanes.values())

    @property
    def is_ready(self) -> bool:
        """Whether a lane may go on."""
        return bool(self._ready)

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Add some to their lanes; one that was handed out comes first again, since it is the oldest."""
        for delivery in deliveries:
            self._put(delivery)

    def _put(self, delivery: Delivery) -> None:
        # Asked once: whoever handles it may change the data.
        key = delivery.lane = self._lane_of(delivery)
        lane = self._lanes.setdefault(key, _Lane())
        was_waiting = bool(lane.waiting)
        insort(lane.waiting, delivery, key=attrgetter("entry_id"))
        if delivery.entry_id in lane.out:
            del lane.out[delivery.entry_id]
            was_waiting = False
        if not lane.out and not was_waiting:
            self._ready.append(key)

    def next(self, most: int) -> list[Delivery]:
        """Hand out the first ones of the lane that has waited longest."""
        if not self._ready:
            return []
        lane = self._lanes[self._ready.popleft()]
        batch, lane.waiting = lane.waiting[:most], lane.waiting[most:]
        lane.out.update((delivery.entry_id, delivery) for delivery in batch)
        return batch

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """Let their lanes go on."""
        for delivery in deliveries:
            self._done(delivery)

    def behind(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Return those that wait in their lanes."""
        oldest: dict[Hashable, EntryId] = {}
        for delivery in deliveries:
            key = delivery.lane
            oldest[key] = min(delivery.entry_id, oldest.get(key, delivery.entry_id))
        return [
            waiting
            for key, entry_id in oldest.items()
            if key in self._lanes
            for waiting in self._lanes[key].all_that_wait()
            if waiting.entry_id > entry_id
        ]

    def first_of_each(self, deliveries: Iterable[Delivery], most: int, left: dict[Hashable, int]) -> list[Delivery]:
        """Return the first ones of each lane, in the order given, unless it had others before the first call."""
        found: list[Delivery] = []
        for delivery in deliveries:
            lane = self._lane_of(delivery)
            if left.setdefault(lane, 0 if lane in self._lanes else most):
                left[lane] -= 1
                found.append(delivery)
        return found

    def _done(self, delivery: Delivery) -> None:
        key = delivery.lane
        lane = self._lanes[key]
        if delivery.entry_id in lane.out:
            del lane.out[delivery.entry_id]
            if lane.waiting and not lane.out:
                self._ready.append(key)
        else:
            lane.waiting.remove(delivery)
            if not lane.waiting and not lane.out:
                self._ready.remove(key)
        if not lane.waiting and not lane.out:
            del self._lanes[key]
