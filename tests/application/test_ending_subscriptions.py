"""How a subscription ends, and what it leaves to others, without a server."""

import asyncio
from collections import deque
from typing import Any

import anyio
import pytest
import sniffio

from papyra_streams import PermissionDenied, Unavailable
from papyra_streams.application.subscribing.subscription import Subscription
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import RELEASED
from papyra_streams.domain.kinds import AUDITS, EVENTS

from .subscribers import STREAM, Bench, messages, next_of, number_of, until

pytestmark = pytest.mark.anyio

AWAY = Unavailable("The server is away.")


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_was_not_settled_is_handed_over_and_its_attempt_not_counted(bench: Bench) -> None:
    bench.write(range(2))
    async with bench.subscription() as subscription:
        await next_of(subscription)
    assert sorted(bench.store.released) == [
        (EntryId(1, 0), 2**31 - 1, RELEASED, False),
        (EntryId(2, 0), 2**31 - 1, RELEASED, False),
    ]
    assert bench.store.gone == ["me"]


async def test_iteration_ends_after_stop_with_what_was_read(bench: Bench) -> None:
    bench.write(range(3))
    seen = []
    async with bench.subscription() as subscription:
        await until(lambda: len(bench.pending) == 3)
        subscription.stop()
        with anyio.fail_after(5):
            async for delivery in subscription:
                async with delivery:
                    seen.append(number_of(delivery))
    assert seen == [0, 1, 2]
    assert bench.pending == []


async def test_a_cancelled_subscription_hands_over_what_it_has(bench: Bench) -> None:
    bench.write([1])
    with anyio.CancelScope() as scope:
        async with bench.subscription() as subscription:
            await next_of(subscription)
            scope.cancel()
            await anyio.sleep_forever()
    assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == RELEASED
    assert bench.store.gone == ["me"]


async def test_a_subscription_ends_in_time_where_the_server_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("papyra_streams.application.subscribing.subscription._CLOSE_TIMEOUT", 0.3)
    bench.write([1])
    with anyio.fail_after(3):
        async with bench.subscription() as subscription:
            await next_of(subscription)
            bench.store.outage = AWAY


async def test_what_is_cancelled_with_its_subscription_has_not_failed(bench: Bench) -> None:
    bench.write([1])
    with anyio.CancelScope() as scope:
        async with bench.subscription(max_deliveries=1) as subscription, await next_of(subscription):
            scope.cancel()
            await anyio.sleep_forever()
    assert bench.store.released == [(EntryId(1, 0), 2**31 - 1, RELEASED, False)]
    assert bench.store.buried == []


@pytest.mark.parametrize("ordering", ["none", "stream"])
async def test_what_has_failed_and_waits_is_handed_over_as_failed(bench: Bench, ordering: str) -> None:
    bench.write([1])
    async with bench.subscription(ordering=ordering, claim_idle=10) as subscription:
        await (await next_of(subscription)).nack(delay=60)
    assert bench.store.released == [(EntryId(1, 0), 0, RELEASED, True)]


async def test_a_second_cancellation_does_not_keep_a_subscription_from_handing_over(bench: Bench) -> None:
    if sniffio.current_async_library() == "trio":
        # Only asyncio's tasks can be cancelled twice: trio's shield holds.
        return
    bench.write([1])

    async def subscribe() -> None:
        async with bench.subscription() as subscription:
            await next_of(subscription)
            await anyio.sleep_forever()

    task = asyncio.ensure_future(subscribe())
    await until(lambda: bench.metrics.entries_delivered == 1)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: bench.store.gone == ["me"])
    assert bench.store.pending_of(STREAM)[EntryId(1, 0)].consumer == RELEASED


@pytest.mark.parametrize("error", [AWAY, PermissionDenied("NOPERM")], ids=lambda error: type(error).__name__)
async def test_what_cannot_be_handed_over_is_told(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write([1])
    async with bench.subscription() as subscription:
        await next_of(subscription)
        bench.store.outage = error
    (line,) = [line for line in messages(caplog) if line.startswith("Giving back 1 entries of group 'workers' failed")]
    assert line.endswith(str(error))


async def test_each_stream_is_left_though_another_cannot_be(bench: Bench) -> None:
    bench.store.faults["leave"] = deque([PermissionDenied("NOPERM")])
    async with bench.subscription(EVENTS, AUDITS):
        await until(lambda: bench.store.calls.count("join") == 2)
    assert bench.store.calls.count("leave") == 2
    assert bench.store.gone == ["me"]


async def test_whoever_still_waits_for_deliveries_is_told_of_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await anyio.sleep_forever()

    async def iterate(subscription: Subscription) -> None:
        async for delivery in subscription:
            pytest.fail(f"nobody wrote {delivery}")

    monkeypatch.setattr("papyra_streams.application.subscribing.subscription._CLOSE_TIMEOUT", 0.1)
    monkeypatch.setattr(bench.store, "take", hang)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, bench.subscription() as subscription:
            tasks.start_soon(iterate, subscription)
            await anyio.sleep(0.01)


async def test_after_a_close_that_took_too_long_nothing_is_delivered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    async def hang(*_: Any, **__: Any) -> None:
        await anyio.sleep_forever()

    async def iterate(subscription: Subscription) -> None:
        seen.extend([number_of(delivery) async for delivery in subscription])

    monkeypatch.setattr("papyra_streams.application.subscribing.subscription._CLOSE_TIMEOUT", 0.1)
    monkeypatch.setattr(bench.store, "release", hang)
    bench.write(range(2))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, bench.subscription(ordering="stream") as subscription:
            tasks.start_soon(iterate, subscription)
            await until(lambda: len(subscription.hand.all()) == 2)
    assert seen == [0]


@pytest.mark.parametrize("others", [0, 1])
async def test_in_order_what_waits_for_long_does_not_hold_up_the_end(bench: Bench, others: int) -> None:
    bench.write(range(1 + others))
    with anyio.fail_after(5):
        async with bench.subscription(ordering="stream") as subscription:
            delivery = await next_of(subscription)
            await until(lambda: len(subscription.hand.all()) == 1 + others)
            await delivery.nack(delay=3600)
            subscription.stop()
            assert [number_of(one) async for one in subscription] == []


async def test_in_order_whoever_waits_behind_what_is_given_back_is_told_of_the_end(bench: Bench) -> None:
    bench.write(range(2))

    async def iterate(subscription: Subscription) -> None:
        async for delivery in subscription:
            pytest.fail(f"{delivery} came before its turn")

    with anyio.fail_after(5):
        async with bench.subscription(ordering="stream") as subscription, anyio.create_task_group() as tasks:
            delivery = await next_of(subscription)
            await until(lambda: len(subscription.hand.all()) == 2)
            tasks.start_soon(iterate, subscription)
            subscription.stop()
            await anyio.sleep(0.01)
            await delivery.nack(delay=3600)
