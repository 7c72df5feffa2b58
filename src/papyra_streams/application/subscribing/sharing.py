"""Reading what a group's workers share: new entries and stuck ones by turns, never more than there is room for."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import islice

import anyio
import anyio.lowlevel

from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.ports import Delivered, StreamStore
from papyra_streams.tasks import DetachedTask, spawn

from .intake import MOST_AT_ONCE, Intake
from .reception import Reception
from .room import Share
from .source import Source


class Sharing(Intake):
    """Shares the entries with the group's other workers: whoever has room takes some.

    Where the server gives stuck entries along with new ones, they are only looked for to clear the pending list of
    those that the stream no longer has. Nobody has more of a group than others, and no entry waits for another: what
    did not arrive is stuck once it has been idle for long enough, and what was lost shows when it is settled.
    """

    def __init__(
        self,
        store: StreamStore,
        cfg: SubscriptionConfig,
        sources: Sequence[Source],
        share: Share,
        reception: Reception,
    ) -> None:
        super().__init__(store, cfg, share, reception)
        self._to_read = deque(sources)
        self._to_sweep = deque(sources)
        self._claims: bool | None = None
        self._begins_with_stuck = True
        self._next_sweep = anyio.current_time()
        # A read that gave nothing but stuck entries is followed by one for new ones.
        self._had_only_stuck = False
        self._had_all_asked_for = False
        # The next read, on its way while what the last one gave is decoded: there is room for all that it asks for.
        self._ahead: DetachedTask[list[Delivered]] | None = None

    async def finish(self) -> None:
        """Take in what was read ahead."""
        if self._ahead:
            await self._receive(await self._read(wait=False))

    async def turn(self) -> bool:
        """Read new entries and, when it is time, stuck ones, each in turn first."""
        if self._claims is None:
            self._claims = (await self._store.capabilities(near=self._to_read[0].stream)).claiming_reads
        if not await self._has_room():
            return False
        if self._ahead or anyio.current_time() < self._next_sweep:
            await self._take_new(wait=True)
            return True
        self._begins_with_stuck = not self._begins_with_stuck
        if self._begins_with_stuck:
            await self._sweep()
            await self._take_new(wait=False)
        else:
            await self._take_new(wait=False)
            await self._sweep()
        return True

    async def _take_new(self, *, wait: bool) -> None:
        if not self.share.free:
            return
        taken = await self._read(wait=wait)
        if self._may_read_ahead(left := self.share.free - len(taken)):
            self._ahead = spawn(partial(self._take, left, wait=False), name="papyra-streams read ahead")
            # It is sent now. A cancellation would lose what was taken.
            await anyio.lowlevel.cancel_shielded_checkpoint()
        await self._receive(taken)

    def _may_read_ahead(self, left: int) -> bool:
        # Where several read, the others go on meanwhile.
        is_due = anyio.current_time() >= self._next_sweep
        may_be_more = left > 0 and self._had_all_asked_for and not is_due
        return self.share.reads_ahead and may_be_more and not self._stopping.is_set()

    async def _read(self, *, wait: bool) -> list[Delivered]:
        ahead, self._ahead = self._ahead, None
        if not ahead:
            return await self._take(self.share.free, wait=wait)
        try:
            return await ahead.result()
        except BaseException:
            ahead.cancel()
            raise

    async def _receive(self, taken: Sequence[Delivered]) -> None:
        refused = self._take_in(taken)
        if refused and self._ahead:
            # The server may not be there for the others for long. Until they are in hand, nobody renews their leases.
            refused += self._take_in(await self._read(wait=False))
        await self._reception.refuse(refused)

    async def _take(self, free: int, *, wait: bool) -> list[Delivered]:
        sources = _in_turn(self._to_read, free)
        left_ms = max(1, round((self._next_sweep - anyio.current_time()) * 1000))
        longest_ms = min(left_ms, round(self._cfg.sweep_interval * 1000))
        may_wait_ms = self.share.longest_wait_ms(longest_ms, reading=len(sources), of=len(self._to_read))
        block_ms = may_wait_ms if wait and not self._had_only_stuck else 0
        self.share.keep_for(block_ms)
        claims = self._claims and not self._had_only_stuck
        count = min(free // len(sources), MOST_AT_ONCE)
        taken = await self._store.take(
            [source.member for source in sources],
            count=count,
            block_ms=block_ms,
            claim_idle_ms=self._cfg.claim_idle_ms if claims else None,
        )
        self.share.note(len(sources), asked=count, found=len(taken))
        self._had_all_asked_for = len(taken) >= count
        self._had_only_stuck = self._had_all_asked_for and all(one.idle_ms for one in taken)
        return taken

    async def _sweep(self) -> None:
        has_found = False
        for source in _in_turn(self._to_sweep, len(self._to_sweep)):
            if not self.share.free:
                # It remains due.
                return
            count = min(self.share.free, MOST_AT_ONCE)
            stuck = await self._store.take_stuck(
                source.member,
                count=count,
                min_idle_ms=self._cfg.claim_idle_ms,
                pause_ms=max(1, round(self._cfg.sweep_interval * 1000 / 2)),
            )
            self.share.note(0, asked=count, found=len(stuck))
            has_found = has_found or bool(stuck)
            await self._receive(stuck)
        if not has_found:
            interval = self._cfg.claim_idle if self._claims else self._cfg.sweep_interval
            self._next_sweep = anyio.current_time() + interval


def _in_turn(sources: deque[Source], most: int) -> list[Source]:
    """Return up to so many streams, another one first each time."""
    chosen = list(islice(sources, most))
    sources.rotate(-most if most < len(sources) else -1)
    return chosen
