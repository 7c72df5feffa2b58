"""Room in a hand for those who read into it: the only one has all that is free, several share it."""

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Self

import anyio

from .hand import Hand
from .source import Source

# Where a read may keep others from their turn: for how long.
LONGEST_TURN_MS = 100
_SHORTEST_TURN_MS = 10
# What a server may have been about to give is counted for so many seconds longer than it was to wait. One that is
# silent keeps nobody else from what others have; what it gives after all comes on top.
_LONGEST_SILENCE = 0.3
# For how many seconds somebody may be the next without knowing.
_LONGEST_UNAWARE = 1.0


class Share:
    """What one reading may put in hand. ``with share:`` leaves to others in the end what was not needed."""

    reads_ahead = False
    """Whether a read may be on its way while what the last one gave is taken in."""

    def __init__(self, hand: Hand) -> None:
        """Read into a hand."""
        self.hand = hand
        self._found_empty = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave to others what was not needed."""

    @property
    def free(self) -> int:
        """How many more may be read now."""
        raise NotImplementedError

    async def wait(self, seconds: float) -> bool:
        """Wait for room, at most so long, and tell whether there is any; who waits again has kept its turn."""
        raise NotImplementedError

    def longest_wait_ms(self, longest_ms: int, *, reading: int, of: int) -> int:
        """Return how long a read of so many of the streams there are may wait; a quiet stream holds up no busy one."""
        raise NotImplementedError

    def note(self, reading: int, *, asked: int, found: int) -> None:  # noqa: ARG002 -- not every share's
        """Note what a read of so many streams came to."""
        self._found_empty = 0 if found else self._found_empty + reading

    def _longest_turn_ms(self, longest_ms: int, reading: int, of: int) -> int:
        if reading == of:
            return longest_ms
        # A round of waits takes as long as one turn, and begins when all were found empty, one after another.
        if self._found_empty < of:
            return 0
        return min(longest_ms, max(_SHORTEST_TURN_MS, LONGEST_TURN_MS * reading // of))

    def keep_for(self, wait_ms: int) -> None:
        """Keep the room for a read that waits for so long."""

    def fill(self, count: int) -> None:
        """Note that so many were put in hand."""

    def stop(self) -> None:
        """Wait no longer."""


class Whole(Share):
    """All that is free of a hand."""

    reads_ahead = True

    def __init__(self, hand: Hand) -> None:
        """Read into a hand, alone."""
        super().__init__(hand)
        hand.changed = self.stop
        self._changed = anyio.Event()

    @property
    def free(self) -> int:
        return self.hand.free

    async def wait(self, seconds: float) -> bool:
        if not self.hand.free:
            self._changed = anyio.Event()
            with anyio.move_on_after(seconds):
                await self._changed.wait()
        return self.hand.free > 0

    def longest_wait_ms(self, longest_ms: int, *, reading: int, of: int) -> int:
        return self._longest_turn_ms(longest_ms, reading, of)

    def stop(self) -> None:
        self._changed.set()


class Room:
    """Grants what is free of a hand to several: together no more is asked for, and who comes first is served first."""

    def __init__(self, hand: Hand, streams: int) -> None:
        """Divide the room of a hand among those who read so many streams."""
        self.hand = hand
        hand.changed = self.pass_on
        # Those who wait for an entry of each stream would have more than half of the slots.
        self.is_crowded = 2 * streams > hand.slots
        self._queue: deque[Part] = deque()
        self._granted: set[Part] = set()

    @property
    def is_short(self) -> bool:
        """Whether somebody waits for room that others have."""
        return bool(self._queue) and self._left() <= 0

    def wait_in_line(self, part: "Part") -> None:
        """Have one reading granted room when it is its turn, which may be at once."""
        self._queue.append(part)
        self.pass_on()

    def pass_on(self) -> None:
        """Grant what is free to those who wait."""
        if not self._queue or (left := self._left()) <= 0:
            return
        passed_over: list[Part] = []
        while self._queue and left > 0:
            part = self._queue.popleft()
            # What one cannot settle takes room from itself alone.
            if (free := left - self.hand.stranded_of(part.sources)) > 0:
                self._granted.add(part)
                left -= part.grant(free)
            else:
                passed_over.append(part)
        self._queue.extendleft(reversed(passed_over))

    def take_back(self, part: "Part") -> None:
        """Have one reading's room for others."""
        self._granted.discard(part)
        self.pass_on()

    def is_next(self, part: "Part") -> bool:
        """Tell whether one reading is the first that waits."""
        return bool(self._queue) and self._queue[0] is part

    def _left(self) -> int:
        now = anyio.current_time()
        return self.hand.most_free - sum(part.held(now) for part in self._granted)


class Part(Share):
    """What one of several is granted, from turn to turn.

    Whoever found less than was asked for asks for an entry of each stream next, and waits for them; whoever found all
    is granted what there is, and does not wait with it. Where room is short nobody waits, and who found nothing rests.
    """

    def __init__(self, room: Room, sources: Sequence[Source]) -> None:
        """Read some streams into a room."""
        super().__init__(room.hand)
        self.sources = sources
        self._room = room
        self._turn: anyio.Event | None = None
        self._stopping = anyio.Event()
        self._granted = 0
        self._until = -inf
        self._has_found_all = False
        self._may_fill_up = False
        self._is_to_rest = False

    def __exit__(self, *_: object) -> None:
        if self._until > -inf:
            self._granted, self._until = 0, -inf
            self._room.take_back(self)

    @property
    def free(self) -> int:
        return self._granted

    def held(self, now: float) -> int:
        """How many slots are kept for what may arrive."""
        return self._granted if now < self._until else 0

    async def wait(self, seconds: float) -> bool:
        if self._is_to_rest:
            self._is_to_rest = False
            with anyio.move_on_after(LONGEST_TURN_MS / 1000):
                await self._stopping.wait()
        if self._turn is None or (self._turn.is_set() and not self.held(anyio.current_time())):
            self._turn = anyio.Event()
            self._room.wait_in_line(self)
        if not self._turn.is_set():
            # Nothing tells when a silent server has had its time; and nobody, that those before are gone.
            longest = _LONGEST_SILENCE if self._room.is_next(self) else _LONGEST_UNAWARE
            with anyio.move_on_after(min(seconds, longest)):
                await self._turn.wait()
            self._room.pass_on()
        if not self._turn.is_set():
            return False
        self._turn = None
        return self._granted > 0

    def grant(self, free: int) -> int:
        """Give some of what is free, and return how much."""
        self._may_fill_up, self._has_found_all = self._has_found_all, False
        self._granted = free if self._may_fill_up else min(free, len(self.sources))
        self.keep_for(0)
        if self._turn:
            self._turn.set()
        return self._granted

    def longest_wait_ms(self, longest_ms: int, *, reading: int, of: int) -> int:
        if self._may_fill_up or self._room.is_short:
            return 0
        longest_ms = min(longest_ms, LONGEST_TURN_MS) if self._room.is_crowded else longest_ms
        return self._longest_turn_ms(longest_ms, reading, of)

    def note(self, reading: int, *, asked: int, found: int) -> None:
        super().note(reading, asked=asked, found=found)
        self._has_found_all = self._has_found_all or found >= asked
        self._is_to_rest = bool(reading) and not found and self._room.is_short

    def keep_for(self, wait_ms: int) -> None:
        self._until = anyio.current_time() + wait_ms / 1000 + _LONGEST_SILENCE

    def fill(self, count: int) -> None:
        self._granted = max(0, self._granted - count)

    def stop(self) -> None:
        self._stopping.set()
        if self._turn:
            self._turn.set()


def shares(hand: Hand, places: Sequence[Sequence[Source]]) -> list[Share]:
    """Divide a hand among those who read the streams of a place each."""
    if len(places) == 1:
        return [Whole(hand)]
    room = Room(hand, sum(map(len, places)))
    return [Part(room, sources) for sources in places]
