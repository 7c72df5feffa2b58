"""What keeps the order of a stream or an actor: after kills, lost replies and lost groups, without a server."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import pytest

from papyra_streams import Delivery, Indeterminate, LeaseLost, StreamsError, Unavailable
from papyra_streams.application.subscribing.subscription import Subscription
from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import Delivered, Joined, Member

from .fake_groups import Group, Pending
from .subscribers import STREAM, Bench, next_of, number_of, until

pytestmark = pytest.mark.anyio

NO_REPLY = Indeterminate("No reply.")
AWAY = Unavailable("The server is away.")
FIRST = EntryId(1, 0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def leave_behind(bench: Bench, deliveries: Iterable[int]) -> None:
    """Have a worker that is dead hold all there is, each entry after so many deliveries."""
    group = bench.store.groups_of[STREAM] = Group(bench.store.streams[STREAM][-1].id)
    for entry, count in zip(bench.store.streams[STREAM], deliveries, strict=True):
        group.pending[entry.id] = Pending("dead", anyio.current_time(), count)


def lose_group(bench: Bench) -> None:
    """Take the group away, as XGROUP DESTROY does."""
    del bench.store.groups_of[STREAM]


async def handle(subscription: Subscription, count: int) -> list[tuple[int, int]]:
    """Acknowledge deliveries one after another, and return the number and the attempt of each."""
    seen: list[tuple[int, int]] = []
    while len(seen) < count:
        async with await next_of(subscription) as delivery:
            seen.append((number_of(delivery), delivery.attempt))
    return seen


async def nothing_comes(subscription: Subscription) -> None:
    """Check that nothing is delivered for a while."""
    with anyio.move_on_after(0.15):
        delivery = await anext(subscription)
        pytest.fail(f"{delivery} came.")


# -- after kills


@pytest.mark.parametrize("slots", [1, 2, 10])
async def test_what_only_waited_for_its_turn_counts_no_attempt(bench: Bench, slots: int) -> None:
    bench.write([1, 2, 3], actor="a")
    bench.write([4, 5], actor="b")
    leave_behind(bench, [1] * 5)
    async with bench.subscription(ordering="actor", concurrency=slots) as subscription:
        assert sorted(await handle(subscription, 5)) == [(1, 2), (2, 1), (3, 1), (4, 2), (5, 1)]


async def test_only_what_was_delivered_too_often_is_put_in_quarantine(bench: Bench) -> None:
    bench.write(range(4), actor="a")
    leave_behind(bench, [3, 1, 1, 1])
    async with bench.subscription(ordering="actor", max_deliveries=3) as subscription:
        assert await handle(subscription, 3) == [(1, 1), (2, 1), (3, 1)]
    assert [(dead.id, dead.attempts) for dead, _ in bench.store.buried] == [(FIRST, 3)]


@pytest.mark.parametrize("ordering", ["actor", "stream"])
async def test_workers_that_are_killed_at_one_entry_count_no_other(bench: Bench, ordering: str) -> None:
    bench.write(range(5), actor="a")
    leave_behind(bench, [1] * 5)
    for kills in range(2, 6):
        bench.store.leaders.clear()
        async with bench.subscription(ordering=ordering, max_deliveries=None) as subscription:
            assert (await next_of(subscription)).attempt == kills
            rows = bench.store.pending_of(STREAM)
            assert [row.deliveries for row in rows.values()] == [kills, 1, 1, 1, 1]
            # It is handed over in order as it ends; a killed one leaves things as they were.
            as_it_was = dict(rows)
        rows.update(as_it_was)


@pytest.mark.parametrize("slots", [1, 10])
async def test_a_whole_batch_of_a_lane_may_have_been_under_way(bench: Bench, slots: int) -> None:
    bench.write(range(5), actor="a")
    leave_behind(bench, [1] * 5)
    async with bench.subscription(ordering="actor", batch_size=2, concurrency=slots) as subscription:
        assert await handle(subscription, 5) == [(0, 2), (1, 2), (2, 1), (3, 1), (4, 1)]


async def test_what_was_handed_over_unused_has_its_first_attempt_before_it(bench: Bench) -> None:
    bench.write(range(2))
    async with bench.subscription(ordering="stream", consumer="a") as first:
        await next_of(first)
    assert [row.deliveries for row in bench.store.pending_of(STREAM).values()] == [0, 0]
    async with bench.subscription(ordering="stream", consumer="b", max_deliveries=1) as second:
        assert await handle(second, 2) == [(0, 1), (1, 1)]
    assert bench.store.buried == []


async def test_what_an_heir_did_not_live_to_finish_counts_though_it_was_unused_before(bench: Bench) -> None:
    bench.write([0])
    leave_behind(bench, [0])
    async with bench.subscription(ordering="stream"):
        await until(lambda: bench.metrics.entries_delivered == 1)
        assert bench.store.pending_of(STREAM)[FIRST].deliveries == 1


async def test_what_cannot_be_read_is_not_counted_and_retired(bench: Bench) -> None:
    bench.store.write(STREAM, [b"no JSON"])
    bench.write([1])
    leave_behind(bench, [1, 1])
    async with bench.subscription(ordering="stream") as subscription:
        assert await handle(subscription, 1) == [(1, 2)]
    assert bench.metrics.unreadable_entries == 1


async def test_what_another_takes_before_it_is_counted_is_left_to_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_again = bench.store.take_again

    async def too_late(member: Member, ids: Sequence[EntryId]) -> list[Delivered]:
        bench.store.steal(STREAM, ids, "other")
        return await take_again(member, ids)

    monkeypatch.setattr(bench.store, "take_again", too_late)
    bench.write(range(2))
    leave_behind(bench, [1, 1])
    async with bench.subscription(ordering="stream") as subscription:
        delivery = await next_of(subscription)
        assert number_of(delivery) == 1
        assert bench.store.pending_of(STREAM)[FIRST].consumer == "other"


@pytest.mark.parametrize(("error", "attempt"), [(AWAY, 2), (NO_REPLY, 3)])
async def test_pending_entries_come_in_order_though_counting_them_failed(
    bench: Bench, error: StreamsError, attempt: int
) -> None:
    bench.write(range(3))
    leave_behind(bench, [1] * 3)
    faults = bench.store.late_faults if isinstance(error, Indeterminate) else bench.store.faults
    faults["take_again"] = deque([error])
    async with bench.subscription(ordering="stream") as subscription:
        assert await handle(subscription, 3) == [(0, attempt), (1, 1), (2, 1)]


# -- after lost replies


@pytest.mark.parametrize("waits", ["in its handler", "for its next attempt"])
async def test_a_lost_reply_is_made_good_while_another_actors_entry_waits(bench: Bench, waits: str) -> None:
    bench.write([1], actor="a")
    async with bench.subscription(ordering="actor") as subscription:
        busy = await next_of(subscription)
        if waits == "for its next attempt":
            await busy.nack(delay=3600)
        bench.store.late_faults["take"] = deque([NO_REPLY])
        bench.write([2, 3], actor="b")
        assert [number for number, _ in await handle(subscription, 2)] == [2, 3]
        bench.write([4], actor="b")
        assert await handle(subscription, 1) == [(4, 1)]
        assert bench.store.pending_of(STREAM)[FIRST].deliveries == 1
        assert not busy.is_lost


async def test_what_a_lost_reply_gave_comes_after_what_is_in_hand_of_its_actor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_pending = bench.store.take_pending
    given: list[EntryId] = []

    async def noted(*arguments: Any, **named: Any) -> list[Delivered]:
        taken = await take_pending(*arguments, **named)
        given.extend(one.entry.id for one in taken)
        return taken

    monkeypatch.setattr(bench.store, "take_pending", noted)
    bench.write([1], actor="a")
    async with bench.subscription(ordering="actor") as subscription:
        busy = await next_of(subscription)
        bench.store.late_faults["take"] = deque([NO_REPLY])
        bench.write([2, 3], actor="a")
        await until(lambda: len(subscription.hand.all()) == 3)
        await nothing_comes(subscription)
        await busy.ack()
        assert await handle(subscription, 2) == [(2, 1), (3, 1)]
    assert FIRST not in given


async def test_what_another_leader_took_and_left_is_this_workers_again(bench: Bench) -> None:
    bench.write(range(2))
    async with bench.subscription(ordering="stream", claim_idle=0.2) as subscription:
        first = await next_of(subscription)
        bench.store.faults["renew"] = deque(AWAY for _ in range(10_000))
        bench.store.faults["lead"] = deque(AWAY for _ in range(10_000))
        # For longer than the lead lasts.
        await anyio.sleep(0.3)
        bench.store.steal(STREAM, [FIRST, EntryId(2, 0)], "other")
        bench.store.faults["lead"].clear()
        await until(lambda: {row.consumer for row in bench.store.pending_of(STREAM).values()} == {"me"})
        bench.store.faults["renew"].clear()
        await first.ack()
        assert number_of(await next_of(subscription)) == 1


async def test_what_was_pending_before_the_lead_lapsed_is_asked_for_again_after_that(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_pending = bench.store.take_pending
    may_go_on = anyio.Event()

    async def slowly(*arguments: Any, **named: Any) -> list[Delivered]:
        taken = await take_pending(*arguments, **named)
        await may_go_on.wait()
        return taken

    monkeypatch.setattr(bench.store, "take_pending", slowly)
    bench.write(range(2))
    leave_behind(bench, [1, 1])
    async with bench.subscription(ordering="stream", claim_idle=0.2) as subscription:
        await until(lambda: "take_pending" in bench.store.calls)
        bench.store.faults["lead"] = deque(AWAY for _ in range(10_000))
        # For longer than the lead lasts.
        await anyio.sleep(0.3)
        bench.store.steal(STREAM, [FIRST], "other")
        asked = bench.store.calls.count("lead")
        bench.store.faults["lead"].clear()
        await until(lambda: bench.store.calls.count("lead") > asked + 1)
        may_go_on.set()
        assert [number for number, _ in await handle(subscription, 2)] == [0, 1]


async def test_what_waits_for_its_next_attempt_goes_with_the_lead(bench: Bench) -> None:
    bench.write([0], actor="x")
    bench.write([1, 2], actor="a")
    async with bench.subscription(ordering="actor") as subscription:
        other = await next_of(subscription)
        await (await next_of(subscription)).nack(delay=0.5)
        bench.store.leaders[STREAM] = "new leader"
        # The new leader has yet to claim what is pending.
        await until(lambda: other.is_lost)
        with anyio.move_on_after(0.6):
            pytest.fail(f"{await anext(subscription)} came to one who does not lead.")


@pytest.mark.parametrize("ordering", ["stream", "actor"])
@pytest.mark.parametrize("has_failed", [True, False])
async def test_what_is_behind_a_lost_entry_is_not_handed_out_before_that_one(
    bench: Bench, ordering: str, *, has_failed: bool
) -> None:
    bench.write(range(4), actor="a")
    async with bench.subscription(ordering=ordering, claim_idle=8.0) as subscription:
        first = await next_of(subscription)
        await until(lambda: len(subscription.hand.all()) == 4)
        bench.store.leaders[STREAM] = "new leader"
        bench.store.steal(STREAM, bench.store.pending_of(STREAM), "new leader")
        if has_failed:
            await first.nack(delay=0.01)
        else:
            with pytest.raises(LeaseLost):
                await first.ack()
        await nothing_comes(subscription)


async def test_what_is_read_while_an_entry_is_lost_comes_after_what_was_behind_that_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, is_asking, may_answer = bench.store.take, anyio.Event(), anyio.Event()

    async def take_late(*arguments: Any, **named: Any) -> list[Delivered]:
        taken = await take(*arguments, **named)
        if taken and taken[-1].entry.id >= EntryId(5, 0):
            is_asking.set()
            await may_answer.wait()
        return taken

    monkeypatch.setattr(bench.store, "take", take_late)
    bench.write(range(4), actor="a")
    async with bench.subscription(ordering="actor", claim_idle=8.0) as subscription:
        first = await next_of(subscription)
        await until(lambda: len(subscription.hand.all()) == 4)
        bench.write([4, 5], actor="a")
        with anyio.fail_after(5):
            await is_asking.wait()
        del bench.store.pending_of(STREAM)[FIRST]
        with pytest.raises(LeaseLost):
            await first.ack()
        may_answer.set()
        assert [number for number, _ in await handle(subscription, 5)] == [1, 2, 3, 4, 5]


async def test_what_is_new_comes_after_an_entry_that_a_failover_has_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending, is_asking, may_answer = bench.store.pending, anyio.Event(), anyio.Event()

    async def pending_late(*arguments: Any) -> Any:
        is_asking.set()
        await may_answer.wait()
        return await pending(*arguments)

    bench.write([0], actor="a")
    async with bench.subscription(ordering="actor", claim_idle=8.0) as subscription:
        first = await next_of(subscription)
        monkeypatch.setattr(bench.store, "pending", pending_late)
        bench.write([1], actor="a")
        with anyio.fail_after(5):
            await is_asking.wait()
        # The replica that takes over had not heard yet that either was given.
        group = bench.store.groups_of[STREAM]
        group.pending.clear()
        group.last_delivered = EntryId(0, 0)
        with pytest.raises(LeaseLost):
            await first.ack()
        may_answer.set()
        assert [number for number, _ in await handle(subscription, 2)] == [0, 1]


async def test_what_is_behind_an_entry_that_somebody_else_acknowledged_counts_no_attempt(bench: Bench) -> None:
    bench.write(range(4), actor="a")
    async with bench.subscription(ordering="actor", claim_idle=8.0) as subscription:
        first = await next_of(subscription)
        await until(lambda: len(subscription.hand.all()) == 4)
        del bench.store.pending_of(STREAM)[FIRST]
        with pytest.raises(LeaseLost):
            await first.ack()
        assert await handle(subscription, 3) == [(1, 1), (2, 1), (3, 1)]
    assert bench.metrics.leases_lost == 1


async def test_what_a_stopped_leader_is_given_when_it_goes_on_is_taken_before_what_is_newer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, has_gone_on = bench.store.take, False

    async def take_after_the_other(*arguments: Any, **named: Any) -> list[Delivered]:
        nonlocal has_gone_on
        if not has_gone_on and bench.store.groups_of[STREAM].last_delivered == EntryId(2, 0):
            has_gone_on = True
            bench.store.groups_of[STREAM].last_delivered = EntryId(3, 0)
            bench.store.groups_of[STREAM].pending[EntryId(3, 0)] = Pending("former", anyio.current_time(), 1)
        return await take(*arguments, **named)

    monkeypatch.setattr(bench.store, "take", take_after_the_other)
    bench.write(range(6))
    async with bench.subscription(ordering="stream", concurrency=2) as subscription:
        seen = await handle(subscription, 6)
    assert has_gone_on
    assert [number for number, _ in seen] == [0, 1, 2, 3, 4, 5]
    # Whether the former leader's handler had begun cannot be known.
    assert [attempt for number, attempt in seen if number != 2] == [1] * 5


@pytest.mark.parametrize("error", [AWAY, NO_REPLY])
async def test_what_is_new_is_not_lost_where_it_cannot_be_asked_who_has_what(bench: Bench, error: StreamsError) -> None:
    bench.write(range(4))
    bench.store.faults["pending"] = deque([error])
    async with bench.subscription(ordering="stream") as subscription:
        assert await handle(subscription, 4) == [(number, 1) for number in range(4)]


async def test_thousands_that_were_in_hand_of_a_lost_group_come_anew_and_in_order(bench: Bench) -> None:
    bench.write(range(2500))
    async with bench.subscription(ordering="stream", claim_idle=1.0, concurrency=2500) as subscription:
        await next_of(subscription)
        await until(lambda: len(subscription.hand.all()) == 2500)
        # Another worker was told of the loss, and this one is not.
        bench.store.groups_of[STREAM] = Group(EntryId(0, 0))
        assert [number for number, _ in await handle(subscription, 5)] == [0, 1, 2, 3, 4]


async def test_what_another_leader_finished_is_not_handled_again(bench: Bench) -> None:
    bench.write(range(3))
    async with bench.subscription(ordering="stream", claim_idle=0.2) as subscription:
        first = await next_of(subscription)
        await until(lambda: len(subscription.hand.all()) == 3)
        for verb in ("renew", "lead"):
            bench.store.faults[verb] = deque(AWAY for _ in range(10_000))
        # For longer than the lead lasts.
        await anyio.sleep(0.3)
        bench.store.pending_of(STREAM).clear()
        for verb in ("renew", "lead"):
            bench.store.faults[verb].clear()
        await until(lambda: first.is_lost)
        await nothing_comes(subscription)
    assert bench.metrics.leases_lost == 3


@pytest.mark.parametrize("most", [1, 5])
async def test_what_was_given_back_unused_is_unused_though_the_next_leader_asks_twice(bench: Bench, most: int) -> None:
    bench.write([1], actor="a")
    bench.write([2], actor="b")
    leave_behind(bench, [0, 1])
    bench.store.faults["take_again"] = deque([AWAY])
    async with bench.subscription(ordering="actor", max_deliveries=most) as subscription:
        assert (1, 1) in await handle(subscription, 1 if most == 1 else 2)


# -- after lost groups


@pytest.mark.parametrize("how", ["another one creates it", "the reply is lost"])
async def test_a_lost_group_that_is_there_again_is_known_by_where_it_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    join = bench.store.join

    async def join_late(member: Member, **named: Any) -> Joined:
        if how == "another one creates it":
            bench.store.groups_of.setdefault(STREAM, Group(EntryId(0, 0)))
        return await join(member, **named)

    bench.write([0], actor="x")
    bench.write([1, 2, 3], actor="a")
    async with bench.subscription(ordering="actor") as subscription:
        slow = await next_of(subscription)
        await (await next_of(subscription)).ack()
        under_way = await next_of(subscription)
        monkeypatch.setattr(bench.store, "join", join_late)
        if how == "the reply is lost":
            bench.store.late_faults["join"] = deque([NO_REPLY])
        lose_group(bench)
        await until(lambda: under_way.is_lost and slow.is_lost)
        seen = [number for number, _ in await handle(subscription, 4)]
    assert [number for number in seen if number] == [1, 2, 3]


@pytest.mark.parametrize("waits", ["in its handler", "for its next attempt"])
async def test_what_was_in_hand_of_a_lost_group_comes_anew_and_in_order(bench: Bench, waits: str) -> None:
    bench.write(range(4), actor="a")
    async with bench.subscription(ordering="actor", concurrency=3) as subscription:
        first = await next_of(subscription)
        await until(lambda: len(subscription.hand.all()) == 3)
        if waits == "for its next attempt":
            await first.nack(delay=3600)
        lose_group(bench)
        assert await handle(subscription, 4) == [(number, 1) for number in range(4)]
        assert first.is_lost
    assert bench.metrics.leases_lost == 3
    assert bench.pending == []


async def test_a_handler_that_works_for_a_lost_group_is_cancelled(bench: Bench) -> None:
    bench.write(range(2), actor="a")
    stop = anyio.Event()
    seen: list[int] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(number_of(delivery))
        if len(seen) == 1:
            lose_group(bench)
            await anyio.sleep_forever()
        if len(seen) == 3:
            stop.set()

    await bench.process(handler, stop=stop, ordering="actor")
    assert seen == [0, 0, 1]


async def test_without_an_order_what_is_in_hand_of_a_lost_group_goes_on(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        lose_group(bench)
        await until(lambda: bench.pending == [1])
        await delivery.ack()
    assert bench.metrics.leases_lost == 0


async def test_after_a_lost_group_nothing_is_read_while_another_leads(bench: Bench) -> None:
    bench.write([0])
    async with bench.subscription(ordering="stream") as subscription:
        first = await next_of(subscription)
        await until(lambda: bench.store.calls.count("take") > 1)
        lose_group(bench)
        bench.store.leaders[STREAM] = "other"
        await until(lambda: first.is_lost)
        bench.write([1])
        await nothing_comes(subscription)
        assert bench.pending == []
        del bench.store.leaders[STREAM]
        assert await handle(subscription, 2) == [(0, 1), (1, 1)]


async def test_an_attempt_that_is_counted_while_its_group_is_lost_is_delivered_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_again = bench.store.take_again
    begun, may_go_on = anyio.Event(), anyio.Event()

    async def slowly(member: Member, ids: Sequence[EntryId]) -> list[Delivered]:
        begun.set()
        await may_go_on.wait()
        return await take_again(member, ids)

    monkeypatch.setattr(bench.store, "take_again", slowly)
    bench.write(range(2))
    async with bench.subscription(ordering="stream", concurrency=2) as subscription:
        await (await next_of(subscription)).nack(delay=0)
        await begun.wait()
        lose_group(bench)
        anew = await next_of(subscription)
        may_go_on.set()
        await until(lambda: bench.store.pending_of(STREAM)[FIRST].deliveries == 2)
        await nothing_comes(subscription)
        await anew.ack()
        assert await handle(subscription, 1) == [(1, 1)]
    assert bench.pending == []
