"""Reading ahead: the server gathers the next entries while the last ones are taken in, without a server."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest

from papyra_streams import GroupMissing, Indeterminate, StreamsError, Unavailable
from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import Delivered

from .fake_groups import Group, Pending
from .subscribers import STREAM, Bench, next_of, number_of, until

pytestmark = pytest.mark.anyio

AWAY = Unavailable("The server is away.")
OUTAGES = [AWAY, Indeterminate("No reply.")]


@pytest.fixture
def bench() -> Bench:
    return Bench()


class _Ahead:
    """Holds back what is read ahead until it is let through, or fails it.

    The first read is alone, since stuck entries are looked for after it; the second is the first one to be followed.
    """

    def __init__(self, bench: Bench, fault: Exception | None = None) -> None:
        self.is_on_its_way = anyio.Event()
        self.may_go = anyio.Event()
        self.begins: Callable[[], None] = lambda: None
        self.was_cancelled = False
        # Then stuck entries are looked for at the beginning, and not again for as long as a lease lasts.
        bench.store.claims = True
        self._take = bench.store.take
        self._fault = fault
        self.begun = 0
        bench.store.take = self._take_late  # type: ignore[method-assign]

    async def _take_late(self, *args: Any, **kwargs: Any) -> list[Delivered]:
        self.begun += 1
        if self.begun > 2:
            self.is_on_its_way.set()
            self.begins()
            await self._wait()
        if self.begun > 2 and self._fault:
            fault, self._fault = self._fault, None
            raise fault
        return await self._take(*args, **kwargs)

    async def _wait(self) -> None:
        try:
            await self.may_go.wait()
        except BaseException:
            self.was_cancelled = True
            raise


async def test_the_next_read_is_on_its_way_before_the_last_one_is_taken_in(
    bench: Bench, anyio_backend_name: str
) -> None:
    ahead = _Ahead(bench)
    taken_in: list[int] = []
    ahead.begins = lambda: taken_in.append(bench.metrics.entries_delivered)
    bench.write(range(1100))
    async with bench.subscription(concurrency=2000, claim_idle=60) as subscription:
        await ahead.is_on_its_way.wait()
        assert [number_of(await next_of(subscription)) for _ in range(1000)] == [*range(1000)]
        ahead.may_go.set()
        assert [number_of(await next_of(subscription)) for _ in range(100)] == [*range(1000, 1100)]
    # On trio it is not fixed which of two tasks goes on first.
    assert taken_in[0] == 500 or anyio_backend_name == "trio"


async def test_a_read_ahead_asks_for_no_more_than_there_are_slots_left(bench: Bench) -> None:
    bench.write(range(2000))
    async with bench.subscription(concurrency=1200, claim_idle=60) as subscription:
        for number in range(1200):
            assert number_of(await next_of(subscription)) == number
            assert len(bench.pending) <= 1200
        with anyio.move_on_after(0.05):
            await anext(subscription)
        assert len(bench.pending) == 1200


async def test_what_is_being_read_ahead_at_stop_is_handed_out(bench: Bench) -> None:
    ahead = _Ahead(bench)
    bench.write(range(1100))
    async with bench.subscription(concurrency=2000, claim_idle=60) as subscription:
        ahead.begins = subscription.stop
        await ahead.is_on_its_way.wait()
        ahead.may_go.set()
        with anyio.fail_after(5):
            assert [number_of(delivery) async for delivery in subscription] == [*range(1100)]


@pytest.mark.parametrize("fault", [*OUTAGES, GroupMissing("NOGROUP")])
async def test_a_read_ahead_that_fails_is_made_good(bench: Bench, fault: StreamsError) -> None:
    ahead = _Ahead(bench, fault)
    ahead.may_go.set()
    bench.write(range(1100))
    async with bench.subscription(concurrency=2000, claim_idle=60) as subscription:
        assert [number_of(await next_of(subscription)) for _ in range(1100)] == [*range(1100)]


async def test_what_fails_to_be_read_ahead_at_stop_is_nobodys_error(bench: Bench) -> None:
    ahead = _Ahead(bench, AWAY)
    bench.write(range(1100))
    async with bench.subscription(concurrency=2000, claim_idle=60) as subscription:
        ahead.begins = subscription.stop
        await ahead.is_on_its_way.wait()
        ahead.may_go.set()
        with anyio.fail_after(5):
            assert [number_of(delivery) async for delivery in subscription] == [*range(1000)]


async def test_no_read_begins_after_a_stop(bench: Bench) -> None:
    bench.write(range(2000))
    take, begun = bench.store.take, 0

    async with bench.subscription(concurrency=2000, claim_idle=60) as subscription:

        async def take_and_stop(*args: Any, **kwargs: Any) -> list[Delivered]:
            nonlocal begun
            begun += 1
            taken = await take(*args, **kwargs)
            if begun == 2:
                subscription.stop()
            return taken

        bench.store.claims = True
        bench.store.take = take_and_stop  # type: ignore[method-assign]
        with anyio.fail_after(5):
            assert [number_of(delivery) async for delivery in subscription] == [*range(1000)]
    assert begun == 2


async def test_what_was_read_ahead_does_not_wait_for_what_goes_to_the_quarantine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    retire, may_answer = bench.store.retire, anyio.Event()

    async def retire_late(*args: Any, **kwargs: Any) -> Sequence[EntryId]:
        await may_answer.wait()
        return await retire(*args, **kwargs)

    monkeypatch.setattr(bench.store, "retire", retire_late)
    ahead = _Ahead(bench)
    ahead.may_go.set()
    bench.write(range(500))
    bench.store.write(STREAM, [b"no record"])
    bench.write(range(500, 1100))
    async with bench.subscription(concurrency=2000, claim_idle=60) as subscription:
        await until(lambda: len(subscription.hand.all()) == 1100)
        may_answer.set()


async def test_what_is_read_ahead_ends_with_a_close_that_takes_too_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("papyra_streams.application.subscribing.subscription._CLOSE_TIMEOUT", 0.1)
    ahead = _Ahead(bench)
    bench.write(range(1100))
    async with bench.subscription(concurrency=2000, claim_idle=60):
        await ahead.is_on_its_way.wait()
    await until(lambda: ahead.was_cancelled)


async def test_stuck_entries_are_taken_over_though_every_read_is_full(bench: Bench) -> None:
    bench.write([-1])
    group = bench.store.groups_of[STREAM] = Group(EntryId(1, 0))
    group.pending[EntryId(1, 0)] = Pending("dead", anyio.current_time(), 1)
    bench.write(range(2000))
    async with bench.subscription(concurrency=2000, claim_idle=0.2) as subscription:
        taken = await next_of(subscription)
        with anyio.fail_after(5):
            while number_of(taken) != -1:
                bench.write([number_of(taken)])
                subscription.settling.acknowledge([taken])
                taken = await anext(subscription)
