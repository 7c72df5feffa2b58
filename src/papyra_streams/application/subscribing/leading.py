"""Reading in order, alone in the group, for as long as the lead lasts."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

import anyio
import anyio.lowlevel

from papyra_streams.application.outages import pause
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.ports import Delivered, StreamStore

from .delivery import Delivery, State
from .intake import MOST_AT_ONCE, Intake
from .reception import Reception
from .room import LONGEST_TURN_MS, Share
from .source import Source

_BEFORE_ALL = EntryId(0, 0)


@dataclass(slots=True)
class _Course:
    """How far the reading of one stream in order has come.

    ``led_until`` -- until when this worker alone reads it, for sure, on the event loop's clock
    ``after`` -- up to where its pending entries were taken; None once there are no others
    ``left`` -- of how many that may have been under way each of its lanes is still short, as far as they were taken
    ``unused`` -- how many attempts those count that are to be taken, or taken anew, and did not begin with the last one
    ``next_sweep`` -- when to look for entries that nobody works on, which a former leader may leave at the last moment
    """

    source: Source
    led_until: float = -inf
    after: EntryId | None = _BEFORE_ALL
    left: dict[Hashable, int] = field(default_factory=dict)
    unused: dict[EntryId, int] = field(default_factory=dict)
    next_sweep: float = -inf

    @property
    def is_led(self) -> bool:
        """Whether nobody else reads it now; asked again after each wait, since a process may be stopped meanwhile."""
        return anyio.current_time() < self.led_until

    @property
    def is_caught_up(self) -> bool:
        """Whether new entries are next."""
        return self.is_led and self.after is None

    def begin_anew(self) -> None:
        """Take what is pending from the first one on, and not what is being taken just now."""
        self.after, self.left = _BEFORE_ALL, {}

    def begin_after_others(self) -> None:
        """Take what is pending anew where another may have led meanwhile."""
        self.begin_anew()
        self.unused.clear()


class Leading(Intake):
    """Reads in order, alone in its group: a stream has one leader, by a lease that ends with it.

    Whoever becomes the leader takes first what is pending, whoever holds it, and only then what is new.
    """

    def __init__(
        self,
        store: StreamStore,
        cfg: SubscriptionConfig,
        sources: Sequence[Source],
        share: Share,
        reception: Reception,
        *,
        lose: Callable[[Sequence[Delivery]], None],
    ) -> None:
        super().__init__(store, cfg, share, reception)
        self._hand = share.hand
        self._lose = lose
        self._courses = deque(map(_Course, sources))
        self._next_lead = -inf
        # How many streams had their turn the last time.
        self._read = 1

    def restart(self) -> None:
        """Take all that is pending again, but for what is in hand."""
        for course in self._courses:
            course.begin_anew()

    def rejoin(self) -> None:
        """Ask who leads before anything is read: that may have been lost as well, and another may lead by now."""
        self.restart()
        self._next_lead = -inf
        for course in self._courses:
            course.led_until = min(course.led_until, anyio.current_time())

    def forget(self, source: Source, after: EntryId) -> None:
        """Lose at once what will come again: what is behind an entry is not to be handled before that one.

        Nothing that the group has given lies behind where it goes on, unless it was lost.
        """
        waiting = (State.OPEN, State.RETURNED)
        held = self._hand.of(source)
        self._lose([delivery for delivery in held if delivery.state in waiting and delivery.entry_id > after])

    def step_back(self, lost: Iterable[Delivery], behind: Iterable[Delivery]) -> None:
        """Ask who leads, and then for all that is pending: what a new leader took is told by that."""
        concerned = {delivery.source for delivery in (*lost, *behind)}
        for course in self._courses:
            if course.source in concerned:
                course.begin_anew()
                unused = [delivery for delivery in behind if delivery.source == course.source]
                course.unused.update((delivery.entry_id, delivery.attempt) for delivery in unused)
                self._next_lead = -inf

    async def renew(self) -> None:
        """Stay the leader of what this worker leads, also while it reads nothing any more."""
        for course in list(self._courses):
            if course.led_until > -inf:
                await self._lead(course)

    async def turn(self) -> bool:
        """Read what comes next of the streams that this worker leads, or wait to lead one."""
        self._courses.rotate(-self._read)
        asks = anyio.current_time() >= self._next_lead
        if asks:
            for course in list(self._courses):
                await self._lead(course)
            self._next_lead = anyio.current_time() + self._cfg.sweep_interval
        if not any(course.is_led for course in self._courses):
            await pause(self._seconds_to_next_lead, self._stopping)
        elif await self._has_room():
            await self._read_led()
            asks = True
        return asks

    @property
    def _seconds_to_next_lead(self) -> float:
        return max(0.0, self._next_lead - anyio.current_time())

    async def _read_led(self) -> None:
        for course in list(self._courses):
            await self._catch_up(course)
            await self._sweep(course)
        ready = [course for course in self._courses if course.is_caught_up]
        wait = self._seconds_to_next_lead
        if any(course.is_led and course not in ready for course in self._courses):
            wait = min(wait, LONGEST_TURN_MS / 1000)
        chosen = ready[: self.share.free]
        self._read = len(chosen) if 0 < len(chosen) < len(ready) else 1
        if chosen:
            longest_ms = max(1, round(wait * 1000))
            await self._take_new(chosen, self.share.longest_wait_ms(longest_ms, reading=len(chosen), of=len(ready)))
        elif self.share.free:
            await pause(wait, self._stopping)

    async def _lead(self, course: _Course) -> None:
        # The lease begins when the server grants it, at the earliest when it is asked.
        asked_at = anyio.current_time()
        had_led = course.led_until > -inf
        if await self._store.lead(course.source.member, lease_ms=self._cfg.claim_idle_ms):
            if had_led and asked_at >= course.led_until:
                # Another may have led meanwhile, and what was given since the lease ended was not taken.
                course.begin_after_others()
            course.led_until = asked_at + self._cfg.claim_idle
        elif had_led:
            course.led_until = -inf
            course.begin_after_others()
            # What waits for its next attempt is the new leader's, too.
            self.forget(course.source, _BEFORE_ALL)

    async def _catch_up(self, course: _Course) -> None:
        count = min(self.share.free, MOST_AT_ONCE)
        if course.after is None or not count or not course.is_led:
            return
        # What is in hand is pending, too. What another took meanwhile, and has not settled, is this worker's again.
        in_hand = [*self._hand.by_id(course.source)]
        before, left = course.left, course.left.copy()
        pending = await self._store.take_pending(course.source.member, count=count, after=course.after, but=in_hand)
        # The server counts these as begun from now on.
        course.unused.update((one.entry.id, 1) for one in pending if not one.attempt)
        self.share.note(0, asked=count, found=len(pending))
        taken = await self._count_begun(course, pending, left)
        if course.is_led and course.left is before:
            if len(pending) == count:
                course.after, course.left = pending[-1].entry.id, left
            else:
                course.after, course.left = None, {}
            for one in pending:
                course.unused.pop(one.entry.id, None)
            await self._receive(taken)

    async def _count_begun(
        self, course: _Course, pending: Sequence[Delivered], left: dict[Hashable, int]
    ) -> list[Delivered]:
        """Count an attempt with those that may have been under way; the others only waited for their turn."""
        source = course.source
        known = [one._replace(attempt=0) if one.attempt == course.unused.get(one.entry.id) else one for one in pending]
        begun = self._reception.begun(source, known, self._cfg.batch_size or 1, left)
        again = await self._store.take_again(source.member, begun) if begun else []
        attempts = {one.entry.id: one.attempt for one in again}
        # Of those, what was not given is somebody else's by now.
        elsewhere = {*begun} - attempts.keys()
        return [
            one._replace(attempt=attempts.get(one.entry.id, max(1, one.attempt)))
            for one in pending
            if one.entry.id not in elsewhere
        ]

    async def _sweep(self, course: _Course) -> None:
        count = min(self.share.free, MOST_AT_ONCE)
        if not course.is_caught_up or not count or anyio.current_time() < course.next_sweep:
            return
        idle_ms, left = self._cfg.claim_idle_ms, course.left
        stuck = await self._store.take_stuck(course.source.member, count=count, min_idle_ms=idle_ms, pause_ms=1)
        self.share.note(0, asked=count, found=len(stuck))
        if not stuck:
            course.next_sweep = anyio.current_time() + self._cfg.claim_idle
        if course.is_led and course.left is left:
            await self._receive(stuck)

    async def _take_new(self, ready: Sequence[_Course], block_ms: int) -> None:
        members = [course.source.member for course in ready]
        count = min(self.share.free // len(ready), MOST_AT_ONCE)
        as_led = [(course, course.left) for course in ready]
        self.share.keep_for(block_ms)
        taken = await self._store.take(members, count=count, block_ms=block_ms)
        self.share.note(len(ready), asked=count, found=len(taken))
        for course, left in as_led:
            new = [one for one in taken if one.stream == course.source.stream]
            # A new leader has taken, with all that was pending, what came for a former one, also if that leads again;
            # and where something was lost meanwhile, that comes first.
            if new and course.is_led and course.left is left:
                await self._take_in_hand(course, new)

    async def _take_in_hand(self, course: _Course, new: Sequence[Delivered]) -> None:
        # One that was stopped as it asked may be given entries once it goes on, which are before these, and no lease of
        # its own tells that. Where anybody else has any, all of them are taken, in their order.
        course.begin_anew()
        course.unused.update((one.entry.id, one.attempt) for one in new)
        member, begun = course.source.member, course.left
        holders = (await self._store.pending(member.stream, member.group)).consumers
        if not (holders.keys() - {member.consumer}) and course.is_led and course.left is begun:
            course.after = None
            course.unused.clear()
            await self._receive(new)
