"""How what is decided about deliveries is carried out, without a server."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from papyra_streams import Delivery, Indeterminate, LeaseLost, Unavailable
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.kinds import AUDITS, EVENTS
from papyra_streams.ports import Member, Settled

from .subscribers import STREAM, Bench, next_of, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_busy_stream_does_not_keep_the_others_acknowledgements_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    audits = "papyra:orders:audits"
    settle, may_answer = bench.store.settle, anyio.Event()
    order: list[str] = []

    async def settle_in_turn(member: Member, ids: Sequence[EntryId]) -> Settled:
        order.append(member.stream)
        await may_answer.wait()
        return await settle(member, ids)

    monkeypatch.setattr(bench.store, "settle", settle_in_turn)
    bench.write([1, 2])
    bench.store.write(audits, [b'{"kind":"audit","timestamp":1}'])
    async with bench.subscription(EVENTS, AUDITS) as subscription:
        deliveries = [await next_of(subscription) for _ in range(3)]
        first, second = [one for one in deliveries if one.kind == "events"]
        (audit,) = [one for one in deliveries if one.kind == "audits"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.ack)
            await until(lambda: len(order) == 1)
            for later in (audit, second):
                tasks.start_soon(later.ack)
                await anyio.sleep(0.01)
            may_answer.set()
    assert order == [STREAM, audits, STREAM]


async def test_a_text_that_cannot_be_stored_is_put_in_other_words(bench: Bench) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        await (await next_of(subscription)).reject("no file \ud800" + 5000 * "!")
    ((dead, _),) = bench.store.buried
    assert dead.reason.encode().startswith(rb"no file \ud800!")
    assert len(dead.reason) < 2100


@pytest.mark.parametrize("verb", ["settle", "release", "bury"])
async def test_what_was_done_though_the_reply_was_lost_is_done(bench: Bench, verb: str) -> None:
    bench.write([1])
    bench.store.late_faults[verb] = deque([Indeterminate("No reply.")])
    async with bench.subscription() as subscription:
        await carry_out(verb, await next_of(subscription))
    assert bench.metrics.leases_lost == 0
    assert bench.metrics.entries_quarantined == (verb == "bury")


@pytest.mark.parametrize("verb", ["settle", "release", "bury"])
@pytest.mark.parametrize("has_finished", [True, False])
async def test_what_another_worker_took_while_the_server_was_away_is_told_as_lost(
    bench: Bench, verb: str, *, has_finished: bool
) -> None:
    bench.write([1])
    async with bench.subscription() as subscription, anyio.create_task_group() as tasks:
        delivery = await next_of(subscription)
        bench.store.faults[verb] = deque([Unavailable("The server is away.")])

        async def take_over() -> None:
            await until(lambda: verb in bench.store.calls)
            bench.store.steal(STREAM, [delivery.entry_id], "other")
            if has_finished:
                del bench.store.pending_of(STREAM)[delivery.entry_id]

        tasks.start_soon(take_over)
        with pytest.raises(LeaseLost):
            await carry_out(verb, delivery)
    assert bench.metrics.leases_lost == 1
    assert bench.metrics.entries_quarantined == 0


@pytest.mark.parametrize("verb", ["settle", "release", "bury"])
async def test_what_was_deleted_from_the_stream_is_settled_in_silence(bench: Bench, verb: str) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)
        bench.store.streams[STREAM].clear()
        bench.store.pending_of(STREAM).clear()
        await carry_out(verb, delivery)
    assert bench.metrics.leases_lost == 0


async def carry_out(verb: str, delivery: Delivery) -> None:
    """Settle a delivery in the way that asks the server for a step."""
    match verb:
        case "settle":
            await delivery.ack()
        case "release":
            await delivery.nack(delay=0)
        case _:
            await delivery.reject("no good")


@pytest.mark.parametrize("most", [None, 1])
async def test_giving_back_may_be_repeated_where_the_caller_was_cancelled(bench: Bench, most: int | None) -> None:
    bench.write([1])
    verb = "bury" if most else "release"
    async with bench.subscription(max_deliveries=most) as subscription:
        delivery = await next_of(subscription)
        bench.store.faults[verb] = deque([Unavailable("The server is away.")])
        with anyio.move_on_after(0.02) as waiting:
            await delivery.nack(delay=0)
        assert waiting.cancelled_caught
        await delivery.nack(delay=0)
    assert bench.metrics.leases_lost == 0


async def test_a_fault_that_nobody_foresaw_in_renewing_leases_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Settled:
        raise ZeroDivisionError

    monkeypatch.setattr(bench.store, "renew", fail)
    bench.write([1])
    async with bench.subscription() as subscription:
        await next_of(subscription)
        with pytest.raises(ZeroDivisionError):
            await next_of(subscription)


@pytest.mark.parametrize(("verb", "call"), [("reject", "bury"), ("nack", "release")])
async def test_a_decision_that_was_cancelled_and_is_taken_again_waits_for_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, verb: str, call: str
) -> None:
    carry_out, may_answer = getattr(bench.store, call), anyio.Event()

    async def answer_late(*args: Any, **settings: Any) -> Settled:
        await may_answer.wait()
        outcome: Settled = await carry_out(*args, **settings)
        return outcome

    monkeypatch.setattr(bench.store, call, answer_late)
    bench.write([1])
    async with bench.subscription() as subscription:
        delivery = await next_of(subscription)

        async def decide() -> None:
            await (delivery.reject("no good") if verb == "reject" else delivery.nack(delay=0))

        with anyio.move_on_after(0.05):
            await decide()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(decide)
            await anyio.sleep(0.01)
            may_answer.set()
