"""What a subscription gives, and what becomes of it, without a server."""

from collections import deque
from functools import partial
from typing import Any

import anyio
import pytest
from papyra.persistence.models import PersistedEvent

from papyra_streams import (
    AuthenticationFailed,
    Indeterminate,
    InvalidValue,
    LeaseLost,
    StreamsError,
    Unavailable,
)
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import RELEASED
from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS
from papyra_streams.ports import Settled

from .subscribers import STREAM, Bench, messages, next_of, number_of, until

pytestmark = pytest.mark.anyio

AWAY = Unavailable("The server is away.")
OUTAGES: list[StreamsError] = [AWAY, Indeterminate("No reply."), AuthenticationFailed("NOAUTH")]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- taking and settling


async def test_entries_come_in_order_with_what_is_known_of_them(bench: Bench) -> None:
    bench.write(range(3))
    async with bench.subscription() as subscription:
        taken = [await next_of(subscription) for _ in range(3)]
        assert [number_of(one) for one in taken] == [0, 1, 2]
        first = taken[0]
        assert (first.id, first.kind, first.system_id, first.attempt, first.idle_ms) == (
            "1-0",
            "events",
            "orders",
            1,
            0,
        )
        assert isinstance(first.record, PersistedEvent)
        assert first.record.event_type == "x"
        assert first.data["event_type"] == "x"
    assert bench.metrics.entries_delivered == 3


async def test_what_is_acknowledged_is_pending_no_longer(bench: Bench) -> None:
    bench.write(range(2))
    async with bench.subscription() as subscription:
        await (await next_of(subscription)).ack()
        assert bench.pending == [1]
    assert bench.metrics.entries_acknowledged == 1


async def test_acknowledging_twice_is_acknowledging_once(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        await delivery.ack()
        await delivery.ack()
    assert bench.metrics.entries_acknowledged == 1


async def test_many_acknowledge_in_few_round_trips(bench: Bench) -> None:
    bench.write(range(100))
    async with bench.subscription(concurrency=100) as subscription, anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon((await next_of(subscription)).ack)
    assert bench.metrics.entries_acknowledged == 100
    assert bench.store.calls.count("settle") < 10


async def test_a_delivery_is_acknowledged_at_the_end_of_its_block(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        async with await next_of(subscription):
            assert bench.pending == [1]
        assert bench.pending == []


async def test_a_delivery_whose_block_raises_is_given_back_and_comes_again(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        with pytest.raises(ZeroDivisionError):
            async with await next_of(subscription):
                raise ZeroDivisionError
        again = await next_of(subscription)
        assert (number_of(again), again.attempt) == (1, 2)
        assert bench.metrics.entries_redelivered == 1
        await again.ack()


async def test_a_delivery_whose_block_is_cancelled_is_given_back(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        with anyio.CancelScope() as scope:
            async with await next_of(subscription):
                scope.cancel()
                await anyio.sleep_forever()
        assert (await next_of(subscription)).attempt == 2


async def test_a_block_that_settles_its_delivery_itself_is_left_alone(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription, await next_of(subscription) as delivery:
        await delivery.reject("no good")
    assert [entry.reason for entry, _ in bench.store.buried] == ["no good"]
    assert bench.metrics.entries_acknowledged == 0


async def test_what_is_given_back_is_left_alone_for_as_long_as_asked(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription(claim_idle=10) as subscription:
        await (await next_of(subscription)).nack(delay=4)
        assert bench.store.released == [(EntryId(1, 0), 6000, RELEASED, True)]


async def test_what_is_to_wait_longer_than_a_lease_is_kept_and_its_lease_renewed(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription(claim_idle=0.5) as subscription:
        begun = anyio.current_time()
        await (await next_of(subscription)).nack(delay=1.2)
        assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == "me"
        again = await next_of(subscription)
        assert anyio.current_time() - begun > 1.19
        assert again.attempt == 2


async def test_after_its_last_attempt_an_entry_is_put_in_quarantine(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write([1])
    async with bench.subscription(max_deliveries=2) as subscription:
        for _ in range(2):
            await (await next_of(subscription)).nack(delay=0)
        await until(lambda: bool(bench.store.buried))
    ((dead, quarantine),) = bench.store.buried
    assert (dead.id, dead.attempts, dead.reason) == (EntryId(1, 0), 2, "delivered too often")
    assert quarantine == "papyra:orders:quarantine:{papyra:orders:events}"
    assert bench.metrics.entries_quarantined == 1
    assert any("1-0 of papyra:orders:events is in quarantine after 2 deliveries" in line for line in messages(caplog))


async def test_an_entry_whose_workers_were_killed_too_often_is_not_delivered_again(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription(consumer="first", max_deliveries=1, claim_idle=0.2) as subscription:
        await next_of(subscription)
        bench.store.steal(STREAM, [EntryId(1, 0)], "killed")
        await until(lambda: bool(bench.store.buried))
    ((dead, _),) = bench.store.buried
    assert dead.attempts == 2
    assert bench.metrics.entries_delivered == 1


async def test_without_a_limit_an_entry_is_delivered_for_ever(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription(max_deliveries=None, claim_idle=0.2) as subscription:
        for attempt in range(1, 12):
            delivery = await next_of(subscription)
            assert delivery.attempt == attempt
            await delivery.nack(delay=0)


async def test_an_entry_that_cannot_be_read_is_retired_at_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.store.write(STREAM, [b"not JSON"])
    bench.write([2])
    async with bench.subscription() as subscription:
        assert number_of(await next_of(subscription)) == 2
        await until(lambda: bool(bench.store.retired_at))
    assert bench.metrics.unreadable_entries == 1
    assert "Entry 1-0 of papyra:orders:events cannot be read (not JSON); it is in quarantine." in messages(caplog)


@pytest.mark.parametrize("second", ["nack", "reject"])
async def test_what_was_acknowledged_cannot_be_settled_otherwise(bench: Bench, second: str) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        await delivery.ack()
        with pytest.raises(InvalidValue, match="1-0 of papyra:orders:events was settled before: acknowledged"):
            await (delivery.nack() if second == "nack" else delivery.reject("why"))


@pytest.mark.parametrize("delay", [-1, "1", True, float("nan"), float("inf")])
async def test_a_delay_that_is_none_is_refused_and_the_delivery_still_open(bench: Bench, delay: float) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        with pytest.raises(InvalidValue, match="`delay` must be a number of seconds"):
            await delivery.nack(delay=delay)
        await delivery.ack()


@pytest.mark.parametrize("reason", ["", "  ", None, 3])
async def test_a_rejection_needs_a_reason(bench: Bench, reason: str) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        with pytest.raises(InvalidValue, match="Give a reason"):
            await delivery.reject(reason)


# -- slots


async def test_no_more_is_in_hand_than_there_are_slots(bench: Bench) -> None:
    bench.write(range(10))
    async with bench.subscription(concurrency=3) as subscription:
        taken = [await next_of(subscription) for _ in range(3)]
        with anyio.move_on_after(0.05):
            await anext(subscription)
        assert len(bench.pending) == 3
        await taken[0].ack()
        assert number_of(await next_of(subscription)) == 3


async def test_with_fewer_slots_than_streams_each_stream_has_its_turn(bench: Bench) -> None:
    streams = {kind: f"papyra:orders:{kind.stream}" for kind in (EVENTS, AUDITS, DEAD_LETTERS)}
    for kind, stream in streams.items():
        payloads = [b'{"kind":"%b","timestamp":1}' % kind.record.encode()] * 3
        bench.store.write(stream, payloads)
    seen: list[str] = []
    async with bench.subscription(*streams, concurrency=1) as subscription:
        for _ in range(9):
            async with await next_of(subscription) as delivery:
                seen.append(delivery.kind)
            assert sum(len(group.pending) for group in bench.store.groups_of.values()) <= 1
    assert sorted(seen[:3]) == sorted(kind.stream for kind in streams)


# -- stuck entries


@pytest.mark.parametrize("claims", [False, True])
async def test_what_a_dead_worker_held_is_taken_over(bench: Bench, *, claims: bool) -> None:
    bench.store.claims = claims
    bench.write(range(2))
    async with bench.subscription(claim_idle=0.2) as subscription:
        await (await next_of(subscription)).ack()
        await (await next_of(subscription)).ack()
        bench.write([2])
        bench.store.groups_of[STREAM].last_delivered = EntryId(3, 0)
        bench.store.steal(STREAM, [EntryId(3, 0)], "dead")
        begun = anyio.current_time()
        taken = await next_of(subscription)
        assert 0.19 < anyio.current_time() - begun < 1.2
        assert (number_of(taken), taken.attempt) == (2, 3)
        assert taken.idle_ms >= 200


@pytest.mark.parametrize("claims", [False, True])
async def test_new_entries_come_while_many_are_stuck(bench: Bench, *, claims: bool) -> None:
    bench.store.claims = claims
    bench.write(range(100))
    async with bench.subscription(concurrency=100):
        await until(lambda: len(bench.pending) == 100)
    assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == RELEASED
    bench.write(range(1000, 1003))
    seen: list[int] = []
    async with bench.subscription(concurrency=1) as subscription:
        while 1002 not in seen:
            async with await next_of(subscription) as delivery:
                seen.append(number_of(delivery))
    assert 1 < len(seen) < 20


async def test_a_lease_is_renewed_for_as_long_as_the_entry_is_in_hand(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription(claim_idle=0.5) as one:
        delivery = await next_of(one)
        async with bench.subscription(consumer="other", claim_idle=0.5) as other:
            with anyio.move_on_after(1.5):
                await anext(other)
                pytest.fail("It was taken from a living worker.")
        await delivery.ack()
    assert bench.metrics.entries_delivered == 1


async def test_a_lost_lease_is_known_before_the_acknowledgement_which_is_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        bench.store.steal(STREAM, [EntryId(1, 0)], "other")
        await until(lambda: delivery.is_lost)
        with pytest.raises(LeaseLost, match="1-0 of papyra:orders:events is no longer this consumer's"):
            await delivery.ack()
    assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == "other"
    assert bench.metrics.leases_lost == 1
    assert any("1 entries in hand of group 'workers'" in line for line in messages(caplog))


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_block_that_comes_to_its_end_without_the_lease_is_told(bench: Bench, *, is_known: bool) -> None:
    bench.write([1])
    async with bench.subscription(claim_idle=0.2 if is_known else 60) as subscription:
        delivery = await next_of(subscription)

        async def lose() -> None:
            async with delivery:
                bench.store.steal(STREAM, [delivery.entry_id], "other")
                await until(lambda: delivery.is_lost is is_known)

        with pytest.raises(LeaseLost):
            await lose()


async def test_a_block_that_raises_without_the_lease_raises_that(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        bench.store.steal(STREAM, [delivery.entry_id], "other")
        await until(lambda: delivery.is_lost)
        with pytest.raises(ZeroDivisionError):
            async with delivery:
                raise ZeroDivisionError


@pytest.mark.parametrize("verb", ["ack", "nack", "reject"])
async def test_settling_what_another_has_taken_is_told_though_nobody_knew(bench: Bench, verb: str) -> None:
    bench.write([1])
    async with bench.subscription(claim_idle=60) as subscription:
        delivery = await next_of(subscription)
        bench.store.steal(STREAM, [EntryId(1, 0)], "other")
        settled = {"ack": delivery.ack(), "nack": delivery.nack(), "reject": delivery.reject("why")}
        chosen = settled.pop(verb)
        for other in settled.values():
            other.close()
        with pytest.raises(LeaseLost):
            await chosen
    assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == "other"
    assert bench.metrics.entries_acknowledged == 0


async def test_what_is_lost_while_it_waits_is_not_handed_out(bench: Bench) -> None:
    bench.write(range(3))
    async with bench.subscription() as subscription:
        await until(lambda: len(bench.pending) == 3)
        bench.store.steal(STREAM, [EntryId(1, 0), EntryId(2, 0)], "other")
        await until(lambda: bench.metrics.leases_lost == 2)
        assert number_of(await next_of(subscription)) == 2


@pytest.mark.parametrize("verb", ["ack", "nack"])
async def test_what_was_released_when_the_answer_was_lost_is_released(bench: Bench, verb: str) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        bench.store.late_faults["release" if verb == "nack" else "settle"] = deque([Indeterminate("No reply.")])
        await (delivery.nack(delay=0) if verb == "nack" else delivery.ack())
    assert bench.metrics.leases_lost == 0


@pytest.mark.parametrize("verb", ["reject", "nack"])
async def test_what_was_put_in_quarantine_when_the_answer_was_lost_is_counted(bench: Bench, verb: str) -> None:
    bench.write([1])
    bench.store.late_faults["bury"] = deque([Indeterminate("No reply.")])
    async with bench.subscription(max_deliveries=1) as subscription:
        delivery = await next_of(subscription)
        await (delivery.reject("no good") if verb == "reject" else delivery.nack())
    assert len(bench.store.buried) == bench.metrics.entries_quarantined == 1


async def test_what_was_killed_too_often_is_counted_though_the_answer_was_lost(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription(max_deliveries=1, claim_idle=0.2) as subscription:
        await next_of(subscription)
        bench.store.late_faults["bury"] = deque([Indeterminate("No reply.")])
        bench.store.steal(STREAM, [EntryId(1, 0)], "killed")
        await until(lambda: bench.metrics.entries_quarantined == 1)
    assert len(bench.store.buried) == 1


async def test_what_is_given_anew_before_it_is_known_to_be_back_is_delivered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write([1])
    release, answered = bench.store.release, anyio.Event()

    async def answer_late(*args: Any, **settings: Any) -> Settled:
        outcome = await release(*args, **settings)
        await answered.wait()
        return outcome

    monkeypatch.setattr(bench.store, "release", answer_late)
    async with bench.subscription(concurrency=2) as subscription, anyio.create_task_group() as tasks:
        delivery = await next_of(subscription)
        tasks.start_soon(partial(delivery.nack, delay=0))
        again = await next_of(subscription)
        assert (again.entry_id, again.attempt) == (delivery.entry_id, 2)
        answered.set()
        await again.ack()
        assert subscription.hand.free == 2


# -- the subscription itself


async def test_a_subscription_is_opened_once(bench: Bench) -> None:
    async with bench.subscription() as subscription:
        with pytest.raises(InvalidValue, match="opened once"):
            await subscription.__aenter__()


async def test_each_subscription_has_a_name_of_its_own(bench: Bench) -> None:
    names = {bench.subscription(consumer=None).consumer for _ in range(100)}
    assert len(names) == 100


async def test_an_entry_that_is_in_hand_is_not_put_in_hand_again(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription(concurrency=2) as subscription:
        await next_of(subscription)
        row = bench.store.pending_of(STREAM)[EntryId(1, 0)]
        row.since -= 100
        await until(lambda: row is not bench.store.pending_of(STREAM)[EntryId(1, 0)])
        with anyio.move_on_after(0.05):
            await anext(subscription)
            pytest.fail("It was delivered twice to one worker.")
