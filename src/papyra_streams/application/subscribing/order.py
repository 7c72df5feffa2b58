"""In which order deliveries are handed out."""

from bisect import insort
from collections import deque
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Protocol

from papyra_streams.domain.entries import EntryId

from .delivery import Delivery


class Order(Protocol):
    """Deliveries that wait to be handed out."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be handed out, now or later."""

    @property
    def is_ready(self) -> bool:
        """Whether something may be handed out now."""

    def put(self, delivery: Delivery) -> None:
        """Add one: new, or in place of the same entry that was handed out before."""

    def next(self, most: int) -> list[Delivery]:
        """Hand out the next, up to so many; none if nothing may be handed out now."""

    def done(self, delivery: Delivery) -> None:
        """Note that one needs to be waited for no longer, whether it was handed out or not."""


class AsTheyCome:
    """Hands out whatever there is."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not self._waiting

    @property
    def is_ready(self) -> bool:
        """Whether there is something."""
        return bool(self._waiting)

    def put(self, delivery: Delivery) -> None:
        """Add one at the end."""
        self._waiting.append(delivery)

    def next(self, most: int) -> list[Delivery]:
        """Hand out the first ones, but for those that were lost while they waited."""
        batch: list[Delivery] = []
        while self._waiting and len(batch) < most:
            delivery = self._waiting.popleft()
            if delivery.is_open:
                batch.append(delivery)
        return batch

    def done(self, delivery: Delivery) -> None:
        """Nobody waits for it."""


class _Lane:
    """What must be handled one after another: those that wait, by their ids, and how many were handed out."""

    def __init__(self) -> None:
        self.waiting: list[Delivery] = []
        self.out: set[EntryId] = set()


class InLanes:
    """Hands out deliveries of one lane together at most, and no more of it until they are done or put back."""

    def __init__(self, lane_of: Callable[[Delivery], Hashable]) -> None:
        self._lane_of = lane_of
        self._lanes: dict[Hashable, _Lane] = {}
        self._ready: deque[Hashable] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether no lane has anything that waits."""
        return not any(lane.waiting for lane in self._lanes.values())

    @property
    def is_ready(self) -> bool:
        """Whether a lane may go on."""
        return bool(self._ready)

    def put(self, delivery: Delivery) -> None:
        """Add one to its lane; one that was handed out comes first again, since it is the oldest."""
        # Asked once: whoever handles it may change the data.
        key = delivery.lane = self._lane_of(delivery)
        lane = self._lanes.setdefault(key, _Lane())
        was_waiting = bool(lane.waiting)
        insort(lane.waiting, delivery, key=attrgetter("entry_id"))
        if delivery.entry_id in lane.out:
            lane.out.discard(delivery.entry_id)
            was_waiting = False
        if not lane.out and not was_waiting:
            self._ready.append(key)

    def next(self, most: int) -> list[Delivery]:
        """Hand out the first ones of the lane that has waited longest."""
        if not self._ready:
            return []
        lane = self._lanes[self._ready.popleft()]
        batch, lane.waiting = lane.waiting[:most], lane.waiting[most:]
        lane.out.update(delivery.entry_id for delivery in batch)
        return batch

    def done(self, delivery: Delivery) -> None:
        """Let the lane go on."""
        key = delivery.lane
        lane = self._lanes[key]
        if delivery.entry_id in lane.out:
            lane.out.discard(delivery.entry_id)
            if lane.waiting and not lane.out:
                self._ready.append(key)
        else:
            lane.waiting.remove(delivery)
            if not lane.waiting and not lane.out:
                self._ready.remove(key)
        if not lane.waiting and not lane.out:
            del self._lanes[key]
