"""What a subscription makes of outages, lost groups and a required order, without a server."""

from collections import deque
from collections.abc import Sequence

import anyio
import pytest

from papyra_streams import (
    AuthenticationFailed,
    GroupMissing,
    Indeterminate,
    LeaseLost,
    PermissionDenied,
    StreamsError,
    Unavailable,
    WrongType,
)
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.kinds import AUDITS, EVENTS
from papyra_streams.ports import Member, Settled

from .subscribers import STREAM, Bench, messages, next_of, number_of, until

pytestmark = pytest.mark.anyio

AWAY = Unavailable("The server is away.")
OUTAGES: list[StreamsError] = [AWAY, Indeterminate("No reply."), AuthenticationFailed("NOAUTH")]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- outages


@pytest.mark.parametrize("verb", ["join", "take", "take_stuck"])
@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
async def test_reading_goes_on_after_an_outage(bench: Bench, verb: str, error: StreamsError) -> None:
    async with bench.subscription() as subscription:
        await until(lambda: bench.store.calls.count("take") > 1)
        if verb == "join":
            del bench.store.groups_of[STREAM]
        bench.store.faults[verb] = deque([error] * 3)
        bench.write([1])
        assert number_of(await next_of(subscription)) == 1


async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.subscription() as subscription:
        bench.store.faults["take"] = deque([AWAY] * 4)
        bench.write([1])
        await next_of(subscription)
    assert messages(caplog) == [
        "Reading for group 'workers' waits for the server: The server is away.",
        "Reading for group 'workers' goes on: the server answers again.",
    ]


async def test_a_password_that_never_worked_is_told(bench: Bench) -> None:
    bench.store.outage = AuthenticationFailed("WRONGPASS")
    with pytest.raises(AuthenticationFailed):
        async with bench.subscription() as subscription:
            await next_of(subscription)


@pytest.mark.parametrize("error", [WrongType("No stream."), PermissionDenied("NOPERM")])
async def test_what_waiting_does_not_mend_is_told_after_what_was_read(bench: Bench, error: StreamsError) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        await until(lambda: bench.pending == [1])
        bench.store.faults["take"] = deque([error])
        await until(lambda: not bench.store.faults["take"])
        delivery = await next_of(subscription)
        with pytest.raises(type(error)):
            await next_of(subscription)
        await delivery.ack()


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
async def test_an_acknowledgement_waits_for_the_server(bench: Bench, error: StreamsError) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        bench.store.faults["settle"] = deque([error] * 3)
        await delivery.ack()
    assert bench.metrics.entries_acknowledged == 1


@pytest.mark.parametrize("verb", ["settle", "bury"])
async def test_what_was_settled_when_the_answer_was_lost_is_settled(bench: Bench, verb: str) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        bench.store.late_faults[verb] = deque([Indeterminate("No reply.")])
        await (delivery.ack() if verb == "settle" else delivery.reject("no good"))
    assert bench.metrics.leases_lost == 0


async def test_an_acknowledgement_that_is_refused_is_told(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        bench.store.faults["settle"] = deque([PermissionDenied("NOPERM")])
        with pytest.raises(PermissionDenied):
            await delivery.ack()


async def test_what_a_lost_answer_delivered_is_delivered_again(bench: Bench) -> None:
    bench.write([1])
    bench.store.late_faults["take"] = deque([Indeterminate("No reply.")])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        assert delivery.attempt == 2


# -- groups that vanish


async def test_a_group_that_vanishes_is_restored(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async with bench.subscription() as subscription:
        await until(lambda: bench.store.calls.count("take") > 1)
        del bench.store.groups_of[STREAM]
        bench.write([1])
        assert number_of(await next_of(subscription)) == 1
    assert bench.metrics.groups_restored == 1
    assert "Group 'workers' of papyra:orders:events was gone; it was created anew and goes on after 0-0." in messages(
        caplog
    )


async def test_a_group_that_vanishes_ends_a_subscription_that_asks_for_that(bench: Bench) -> None:
    async with bench.subscription(on_group_lost="fail") as subscription:
        await until(lambda: bench.store.calls.count("take") > 1)
        del bench.store.groups_of[STREAM]
        with pytest.raises(GroupMissing):
            await next_of(subscription)


async def test_a_group_that_vanishes_again_and_again_is_not_asked_for_without_end(bench: Bench) -> None:
    bench.store.faults["take"] = deque(GroupMissing("There is no such group.") for _ in range(10_000))
    async with bench.subscription():
        await anyio.sleep(0.2)
    assert 2 <= bench.store.calls.count("join") <= 5


async def test_what_was_in_hand_of_a_group_that_vanished_is_lost(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        del bench.store.groups_of[STREAM]
        with pytest.raises(LeaseLost):
            await delivery.ack()
        again = await next_of(subscription)
        assert number_of(again) == 1


# -- order


async def test_in_order_the_next_entry_waits_for_the_one_before(bench: Bench) -> None:
    bench.write(range(3))
    async with bench.subscription(ordering="stream") as subscription:
        for number in range(3):
            delivery = await next_of(subscription)
            assert number_of(delivery) == number
            with anyio.move_on_after(0.02):
                await anext(subscription)
                pytest.fail("It came before the one in front of it was done.")
            await delivery.ack()


async def test_in_order_of_actors_only_the_same_actors_entries_wait(bench: Bench) -> None:
    bench.write([1, 2], actor="a")
    bench.write([3], actor="b")
    async with bench.subscription(ordering="actor") as subscription:
        first, other = [await next_of(subscription) for _ in range(2)]
        assert [number_of(first), number_of(other)] == [1, 3]
        await first.ack()
        assert number_of(await next_of(subscription)) == 2


async def test_in_order_a_failed_entry_comes_again_before_those_behind_it(bench: Bench) -> None:
    bench.write(range(3))
    seen: list[tuple[int, int]] = []
    async with bench.subscription(ordering="stream") as subscription:
        while len(seen) < 5:
            delivery = await next_of(subscription)
            seen.append((number_of(delivery), delivery.attempt))
            await (delivery.nack() if seen[-1] in {(0, 1), (1, 1)} else delivery.ack())
    assert seen == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]


async def test_in_order_one_worker_reads_and_another_takes_over_what_it_left(bench: Bench) -> None:
    bench.write(range(3))
    async with bench.subscription(ordering="stream", consumer="a") as first:
        assert number_of(await next_of(first)) == 0
        async with bench.subscription(ordering="stream", consumer="b") as second:
            with anyio.move_on_after(0.2):
                await anext(second)
                pytest.fail("The second worker read while the first one led.")
            bench.store.leaders[STREAM] = "b"
            taken = await next_of(second)
            assert (number_of(taken), taken.attempt) == (0, 2)
            await until(lambda: not first.hand.all())
    assert bench.metrics.leases_lost == 3


async def test_in_order_a_lost_answer_is_made_good_before_anything_newer(bench: Bench) -> None:
    bench.write(range(2))
    bench.store.late_faults["take"] = deque([Indeterminate("No reply.")])
    async with bench.subscription(ordering="stream") as subscription:
        bench.write([2])
        for number in range(3):
            async with await next_of(subscription) as delivery:
                assert number_of(delivery) == number


async def test_in_order_a_retry_that_meets_a_missing_group_holds_up_nobody(bench: Bench) -> None:
    bench.write(range(2))
    seen: list[int] = []
    async with bench.subscription(ordering="stream", claim_idle=0.2) as subscription:
        bench.store.faults["take_again"] = deque([GroupMissing("There is no such group.")])
        await (await next_of(subscription)).nack(delay=0)
        while len(seen) < 2:
            async with await next_of(subscription) as delivery:
                seen.append(number_of(delivery))
    assert sorted(seen) == [0, 1]
    assert bench.pending == []


async def test_in_order_a_blip_does_not_hold_up_other_actors(bench: Bench) -> None:
    bench.write([1], actor="a")
    async with bench.subscription(ordering="actor") as subscription:
        busy = await next_of(subscription)
        bench.store.faults["take"] = deque([AWAY])
        bench.write([2], actor="b")
        assert number_of(await next_of(subscription)) == 2
        assert busy.is_open


async def test_in_order_what_is_taken_from_a_leader_while_it_waits_is_taken_back(bench: Bench) -> None:
    bench.write(range(3), actor="a")
    async with bench.subscription(ordering="actor", concurrency=3) as subscription:
        first = await next_of(subscription)
        await until(lambda: len(subscription.hand.all()) == 3)
        bench.store.steal(STREAM, [EntryId(2, 0)], "other")
        await until(lambda: bench.metrics.leases_lost == 1)
        await first.ack()
        for number in (1, 2):
            async with await next_of(subscription) as delivery:
                assert number_of(delivery) == number


async def test_in_order_what_is_taken_from_a_leader_comes_again_before_what_is_behind_it(bench: Bench) -> None:
    bench.write(range(2), actor="a")
    async with bench.subscription(ordering="actor") as subscription:
        first = await next_of(subscription)
        bench.store.steal(STREAM, [first.entry_id], "other")
        for number in (0, 1):
            async with await next_of(subscription) as delivery:
                assert number_of(delivery) == number
        assert first.is_lost


async def test_in_order_nothing_is_delivered_that_came_after_the_lead_had_lapsed(bench: Bench) -> None:
    bench.write([0])
    async with bench.subscription(ordering="stream", concurrency=5, claim_idle=0.2) as subscription:
        first = await next_of(subscription)
        bench.store.faults["lead"] = deque(AWAY for _ in range(10_000))
        await anyio.sleep(0.3)
        bench.write([1])
        with anyio.move_on_after(0.2):
            await first.ack()
            await anext(subscription)
            pytest.fail("It was delivered although another worker may lead.")
        bench.store.faults["lead"].clear()
        assert number_of(await next_of(subscription)) == 1


async def test_a_stream_whose_leases_cannot_be_renewed_leaves_the_others_theirs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew = bench.store.renew
    audits = "papyra:orders:audits"

    async def refuse_one(member: Member, ids: Sequence[EntryId]) -> Settled:
        if member.stream == STREAM:
            raise PermissionDenied("NOPERM")
        return await renew(member, ids)

    monkeypatch.setattr(bench.store, "renew", refuse_one)
    bench.write([1])
    bench.store.write(audits, [b'{"kind":"audit","timestamp":1}'])
    async with bench.subscription(EVENTS, AUDITS):
        await until(lambda: bench.metrics.entries_delivered == 2)
        begun = bench.store.pending_of(audits)[EntryId(1, 0)].since
        await until(lambda: bench.store.pending_of(audits)[EntryId(1, 0)].since > begun)
