"""Where a worker has fewer slots than there are streams, or reads in several places: quiet ones hold up no busy one."""

import sys
import time
from types import FrameType
from typing import Any

import anyio
import pytest

from papyra_streams.domain.kinds import KINDS

from .subscribers import PLACES, STREAM, SYSTEMS, Bench, next_of, number_of, until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[1, 3], ids=["one place", "three places"])
def bench(request: pytest.FixtureRequest) -> Bench:
    made = Bench()
    made.store.places = dict(PLACES) if request.param > 1 else {}
    return made


@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_a_busy_stream_does_not_wait_for_quiet_ones(bench: Bench, ordering: str) -> None:
    bench.write(range(60))
    settings: dict[str, Any] = {"ordering": ordering, "concurrency": 1, "systems": SYSTEMS}
    async with bench.subscription(**settings) as subscription:
        await (await next_of(subscription)).ack()
        begun = time.monotonic()
        for expected in range(1, 60):
            async with await next_of(subscription) as delivery:
                assert number_of(delivery) == expected
        took = time.monotonic() - begun

    # A turn of a quiet stream for each would take twelve seconds.
    assert took < 3


@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_what_comes_to_a_quiet_stream_is_soon_found(bench: Bench, ordering: str) -> None:
    settings: dict[str, Any] = {"ordering": ordering, "concurrency": 1, "systems": SYSTEMS}
    async with bench.subscription(**settings) as subscription:
        await anyio.sleep(0.3)
        for number in range(10):
            bench.write([number])
            with anyio.fail_after(1):
                async with await anext(subscription) as delivery:
                    assert number_of(delivery) == number


@pytest.mark.parametrize("ordering", ["none", "actor"])
@pytest.mark.parametrize("concurrency", [1, 2, 3, 5, 40])
async def test_no_more_is_read_than_there_are_slots(bench: Bench, concurrency: int, ordering: str) -> None:
    for stream in PLACES:
        bench.write(range(100), stream=stream)
    async with bench.subscription(systems=SYSTEMS, concurrency=concurrency, ordering=ordering) as subscription:
        for _ in range(300 - concurrency):
            await until(lambda: len(subscription.hand.all()) == concurrency)
            assert sum(len(bench.store.pending_of(stream)) for stream in PLACES) <= concurrency
            await (await next_of(subscription)).ack()


@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_one_busy_stream_gets_all_slots(bench: Bench, ordering: str) -> None:
    async with bench.subscription(systems=SYSTEMS, concurrency=10, ordering=ordering) as subscription:
        await anyio.sleep(0.1)
        bench.write(range(50))
        await until(lambda: not subscription.hand.free)
        assert len(bench.store.pending_of(STREAM)) == 10


@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_a_burst_is_handed_out_at_once_beside_what_has_just_found_something(bench: Bench, ordering: str) -> None:
    first, second, _ = PLACES
    async with bench.subscription(systems=SYSTEMS, concurrency=60, ordering=ordering) as subscription:
        for _ in range(5):
            bench.write([0], stream=first)
            await (await next_of(subscription)).ack()
            await anyio.sleep(0.02)
            bench.write(range(50), stream=second)
            # A read that waits for an entry may do so for a quarter of a second.
            with anyio.fail_after(0.15):
                await until(lambda: len(subscription.hand.all()) == 50)
            taken = subscription.hand.all()
            subscription.settling.acknowledge(taken)
            await until(lambda: not subscription.hand.all())


async def test_what_nobody_can_read_leaves_its_room_to_others_at_once(bench: Bench) -> None:
    bad, good, _ = PLACES
    async with bench.subscription(systems=SYSTEMS, concurrency=1, claim_idle=60) as subscription:
        await until(lambda: bench.store.calls.count("take") > 3)
        for number in range(5):
            bench.store.write(bad, [b"no record"])
            bench.write([number], stream=good)
            with anyio.fail_after(0.8):
                async with await anext(subscription) as delivery:
                    assert number_of(delivery) == number


@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_a_delivery_takes_as_little_with_many_places_as_with_few(ordering: str) -> None:
    few, many = [await _calls_for_each_delivery(places, ordering) for places in (16, 64)]
    # To wake each place for each delivery takes twice as many; looking after quiet ones in time, some more.
    assert many < 1.5 * few


@pytest.mark.parametrize("concurrency", [1, 10])
async def test_quiet_streams_are_not_asked_without_a_pause(bench: Bench, concurrency: int) -> None:
    async with bench.subscription(systems=SYSTEMS, concurrency=concurrency):
        await anyio.sleep(0.3)
        before = bench.store.calls.count("take")
        await anyio.sleep(0.5)
        assert bench.store.calls.count("take") - before <= 30


@pytest.mark.parametrize(
    ("ordering", "concurrency", "taken", "led_elsewhere"),
    [
        *(("none", concurrency, 0, False) for concurrency in (1, 2, 3, 10)),
        *(("none", 10, taken, False) for taken in (7, 8, 9)),
        ("actor", 1, 0, False),
        ("actor", 10, 0, False),
        ("actor", 10, 0, True),
    ],
)
async def test_several_streams_of_a_place_are_not_asked_without_a_pause(
    ordering: str,
    concurrency: int,
    taken: int,
    led_elsewhere: bool,  # noqa: FBT001 -- a case
) -> None:
    bench = Bench()
    first, second = places = ("{a}", "{b}")
    bench.store.places = {
        f"papyra:{system}:{kind}": place
        for place, system in enumerate(places)
        for kind in ("events", "audits", "dead_letters")
    }
    if led_elsewhere:
        bench.store.leaders = {f"papyra:{system}:audits": "another" for system in (first, second)}
    settings: dict[str, Any] = {"ordering": ordering, "concurrency": concurrency, "claim_idle": 60}
    async with bench.subscription(*KINDS, systems=places, **settings) as subscription:
        bench.write(range(taken), stream=f"papyra:{first}:events")
        for _ in range(taken):
            await next_of(subscription)
        await anyio.sleep(0.3)
        before = bench.store.calls.count("take")
        await anyio.sleep(0.5)
        assert bench.store.calls.count("take") - before <= 40


async def _calls_for_each_delivery(places: int, ordering: str) -> float:
    """Count calls of Python functions, which are as many on a machine of whatever speed."""
    bench = Bench()
    systems = tuple(f"s{number}" for number in range(places))
    bench.store.places = {f"papyra:{system}:events": place for place, system in enumerate(systems)}
    for stream in bench.store.places:
        bench.write(range(4), stream=stream)
    calls = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    # What is done from time to time is as good as left out.
    async with bench.subscription(systems=systems, concurrency=10, ordering=ordering, claim_idle=60) as subscription:
        sys.setprofile(note)
        try:
            for _ in range(4 * places):
                await (await next_of(subscription)).ack()
        finally:
            sys.setprofile(None)
    return calls / (4 * places)
