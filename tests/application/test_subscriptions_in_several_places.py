"""Streams on several nodes of a cluster: one that is away keeps nobody from what others have, without a server."""

import logging
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from papyra_streams import AuthenticationFailed, Delivery, Indeterminate, LeaseLost, PermissionDenied, Unavailable
from papyra_streams.application.subscribing.subscription import Subscription
from papyra_streams.domain.entries import EntryId

from .subscribers import PLACES, STREAM, SYSTEMS, Bench, messages, next_of, number_of, until

pytestmark = pytest.mark.anyio

LOST, *OTHERS = PLACES
FAULTS = ["away", "silent"]
ORDERINGS = ["none", "actor", "stream"]


@pytest.fixture(autouse=True)
def _short_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no longer at the end for those that answer nothing."""
    monkeypatch.setattr("papyra_streams.application.subscribing.subscription._CLOSE_TIMEOUT", 0.4)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.store.places = dict(PLACES)
    return made


def lose(bench: Bench, fault: str) -> None:
    """Make the server of one of the streams fail."""
    getattr(bench.store, fault).add(LOST)


async def handled(subscription: Subscription, count: int) -> Counter[str]:
    """Handle so many, and return how many there were of each stream."""
    seen: Counter[str] = Counter()
    with anyio.fail_after(5):
        for _ in range(count):
            async with await anext(subscription) as delivery:
                seen[delivery.source.stream] += 1
    return seen


@pytest.mark.parametrize("ordering", ORDERINGS)
async def test_streams_of_several_places_are_read_together(bench: Bench, ordering: str) -> None:
    for number, stream in enumerate(PLACES):
        bench.write([number], stream=stream)
    async with bench.subscription(systems=SYSTEMS, concurrency=5, ordering=ordering) as subscription:
        assert sorted([number_of(await next_of(subscription)) for _ in range(3)]) == [0, 1, 2]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_worker_begins_though_one_place_is_not_there(
    bench: Bench, concurrency: int, ordering: str, fault: str
) -> None:
    lose(bench, fault)
    for stream in OTHERS:
        bench.write(range(20), stream=stream)
    async with bench.subscription(systems=SYSTEMS, concurrency=concurrency, ordering=ordering) as subscription:
        seen = await handled(subscription, 40)
    assert seen == Counter(dict.fromkeys(OTHERS, 20))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("concurrency", [1, 4])
async def test_others_are_read_on_while_one_place_is_away(
    bench: Bench, concurrency: int, ordering: str, fault: str
) -> None:
    settings: dict[str, Any] = {"concurrency": concurrency, "ordering": ordering, "claim_idle": 0.4}
    async with bench.subscription(systems=SYSTEMS, **settings) as subscription:
        await until(lambda: all(stream in bench.store.groups_of for stream in PLACES))
        lose(bench, fault)
        # Longer than a lease, which has to be renewed where that is possible.
        with anyio.fail_after(5):
            for number in range(30):
                bench.write([number], stream=OTHERS[number % 2])
                async with await anext(subscription) as delivery:
                    assert number_of(delivery) == number
                await anyio.sleep(0.02)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("ordering", ORDERINGS)
async def test_what_others_gave_is_kept_while_one_place_is_away(bench: Bench, ordering: str, fault: str) -> None:
    first = OTHERS[0]
    for stream in PLACES:
        bench.write([1], stream=stream)
    async with bench.subscription(systems=SYSTEMS, concurrency=6, ordering=ordering, claim_idle=0.4) as subscription:
        await until(lambda: len(subscription.hand.all()) == 3)
        lose(bench, fault)
        for _ in range(10):
            await anyio.sleep(0.1)
            assert bench.store.pending_of(first)[EntryId(1, 0)].idle_ms < 300
    assert bench.metrics.leases_lost == 0


@pytest.mark.parametrize("verb", ["ack", "nack", "reject"])
@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("slots", [1, 4])
async def test_what_cannot_be_settled_takes_no_room_from_others(
    bench: Bench, slots: int, ordering: str, verb: str
) -> None:
    bench.write(range(slots), stream=LOST)
    settings: dict[str, Any] = {"concurrency": slots, "ordering": ordering, "max_deliveries": None}
    async with bench.subscription(systems=SYSTEMS, **settings) as subscription:
        await until(lambda: len(subscription.hand.all()) == slots)
        bench.store.away.add(LOST)
        async with anyio.create_task_group() as settling:
            with anyio.fail_after(3):
                for _ in range(1 if ordering != "none" else slots):
                    settling.start_soon(_settle, await anext(subscription), verb)
                for number in range(20):
                    bench.write([number], stream=OTHERS[0])
                    async with await anext(subscription) as delivery:
                        assert delivery.source.stream == OTHERS[0]
            bench.store.away.clear()
            if ordering != "none":
                settling.cancel_scope.cancel()


@pytest.mark.parametrize("ordering", ORDERINGS)
async def test_what_waits_for_what_cannot_be_settled_takes_no_room_either(bench: Bench, ordering: str) -> None:
    bench.write(range(10), stream=LOST, actor="a")
    settings: dict[str, Any] = {"concurrency": 10, "ordering": ordering, "claim_idle": 60}
    async with bench.subscription(systems=SYSTEMS, **settings) as subscription:
        await until(lambda: not subscription.hand.free)
        bench.store.away.add(LOST)
        out = [await next_of(subscription) for _ in range(10 if ordering == "none" else 1)]
        subscription.settling.acknowledge(out)
        bench.write(range(10), stream=OTHERS[0])
        await until(lambda: len(subscription.hand.all()) == 20)
        bench.store.away.clear()
        # What has its turn again takes room again.
        await until(lambda: len(subscription.hand.all()) == 20 - len(out))
        assert subscription.hand.most_free == len(out) - 10


async def test_what_was_given_back_twice_leaves_no_room_behind(bench: Bench) -> None:
    async with bench.subscription(systems=SYSTEMS, concurrency=4, max_deliveries=None) as subscription:
        bench.write([1], stream=LOST)
        first = await next_of(subscription)
        bench.store.late_faults["release"] = deque([Indeterminate("The reply is lost.")])
        bench.store.faults["release"] = deque()
        async with anyio.create_task_group() as giving_back:
            giving_back.start_soon(partial(first.nack, delay=0))
            await until(lambda: not bench.store.late_faults["release"])
            bench.store.faults["release"] = deque([Unavailable("Away.")] * 5)
            again = await next_of(subscription)
        with suppress(LeaseLost):
            await again.ack()
        await until(lambda: subscription.hand.is_empty)
        assert subscription.hand.most_free == 4


async def _settle(delivery: Delivery, verb: str) -> None:
    await (delivery.reject("no good") if verb == "reject" else getattr(delivery, verb)())


async def test_handlers_do_not_wait_for_a_place_that_takes_nothing_back(bench: Bench) -> None:
    bench.write(range(2), stream=LOST)
    seen: list[str] = []
    stop = anyio.Event()

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.source.stream)
        if delivery.source.stream == LOST:
            bench.store.away.add(LOST)
            raise ValueError("It was no good.")
        if seen.count(OTHERS[0]) == 20:
            stop.set()

    bench.write(range(20), stream=OTHERS[0])
    await bench.process(handle, stop=stop, systems=SYSTEMS, concurrency=2)
    assert seen.count(OTHERS[0]) == 20


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_others_gave_is_handed_over_at_the_end(bench: Bench, fault: str) -> None:
    for stream in PLACES:
        bench.write([1], stream=stream)
    with anyio.fail_after(3):
        async with bench.subscription(systems=SYSTEMS, concurrency=4) as subscription:
            await until(lambda: len(subscription.hand.all()) == 3)
            lose(bench, fault)
    assert len(bench.store.released) == 2
    assert len(bench.store.gone) == 2


async def test_a_place_that_is_away_is_one_line_when_it_goes_and_one_when_it_is_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench.subscription(systems=SYSTEMS, concurrency=9) as subscription:
        bench.write(range(3), stream=LOST)
        taken = [await next_of(subscription) for _ in range(3)]
        bench.store.away.add(LOST)
        subscription.settling.acknowledge(taken)
        while len(messages(caplog)) < 3:
            bench.write([0], stream=OTHERS[0])
            await (await next_of(subscription)).ack()
            await anyio.sleep(0.02)
        bench.store.away.clear()
        bench.write([4], stream=LOST)
        await next_of(subscription)
        await until(lambda: len(messages(caplog)) >= 6)
    said = Counter(line.split(maxsplit=1)[0] for line in messages(caplog))
    assert said == {"Reading": 2, "Acknowledging": 2, "Renewing": 2}
    assert {entry.levelno for entry in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize("ordering", ORDERINGS)
async def test_a_place_that_is_away_is_told_of_where_there_is_no_room_to_ask_it(
    bench: Bench, ordering: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"ordering": ordering, "concurrency": 2, "claim_idle": 0.4}
    async with bench.subscription(systems=SYSTEMS, **settings) as subscription:
        await until(lambda: all(stream in bench.store.groups_of for stream in PLACES))
        bench.store.away.add(LOST)
        for number in range(100):
            bench.write([number], stream=OTHERS[number % 2])
            async with await next_of(subscription):
                await anyio.sleep(0.03)
    said = [line for line in messages(caplog) if line.startswith("Reading")]
    assert len(said) == 1
    assert "waits for the server" in said[0]


async def test_a_standby_stops_at_once(bench: Bench) -> None:
    bench.store.leaders = dict.fromkeys(PLACES, "another")
    async with bench.subscription(systems=SYSTEMS, ordering="actor", claim_idle=60) as subscription:
        await until(lambda: bench.store.calls.count("lead") >= len(PLACES))
        subscription.stop()
        with anyio.fail_after(0.3):
            assert [delivery async for delivery in subscription] == []


async def test_a_password_that_has_worked_somewhere_may_have_been_changed(bench: Bench) -> None:
    bench.store.away.add(LOST)
    async with bench.subscription(systems=SYSTEMS) as subscription:
        bench.write([1], stream=OTHERS[0])
        await (await next_of(subscription)).ack()
        bench.store.faults["join"] = deque([AuthenticationFailed("WRONGPASS")])
        bench.write([2], stream=LOST)
        bench.store.away.clear()
        assert number_of(await next_of(subscription)) == 2
        assert not bench.store.faults["join"]


async def test_what_waiting_does_not_mend_in_one_place_ends_all(bench: Bench) -> None:
    async with bench.subscription(systems=SYSTEMS) as subscription:
        bench.store.faults["take"] = deque([PermissionDenied("NOPERM")])
        with pytest.raises(PermissionDenied):
            await next_of(subscription)


async def test_iteration_ends_after_stop_when_all_have_been_read(bench: Bench) -> None:
    for stream in PLACES:
        bench.write([1], stream=stream)
    async with bench.subscription(systems=SYSTEMS, concurrency=9) as subscription:
        await until(lambda: len(subscription.hand.all()) == 3)
        subscription.stop()
        with anyio.fail_after(3):
            seen = [delivery.source.stream async for delivery in subscription]
    assert sorted(seen) == sorted(PLACES)


async def test_in_order_what_comes_late_of_a_silent_place_is_in_order(bench: Bench) -> None:
    bench.write(range(3), stream=LOST)
    async with bench.subscription(systems=SYSTEMS, ordering="stream", concurrency=4) as subscription:
        first = await next_of(subscription)
        bench.store.away.add(LOST)
        await anyio.sleep(0.1)
        bench.store.away.clear()
        await first.ack()
        for number in (1, 2):
            async with await next_of(subscription) as delivery:
                assert number_of(delivery) == number
    assert bench.store.groups_of[STREAM].last_delivered == EntryId(3, 0)
