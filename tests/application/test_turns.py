"""Where a worker has fewer slots than there are streams: quiet ones do not hold up a busy one."""

import time
from typing import Any

import anyio
import pytest

from papyra_streams.application.subscribing.intake import LONGEST_TURN_MS, Turns
from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS

from .subscribers import Bench, next_of, number_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_read_of_all_streams_may_wait_as_long_as_it_wants() -> None:
    assert Turns().longest_wait_ms(500, reading=3, of=3) == 500


def test_a_read_of_some_may_wait_once_all_were_found_empty() -> None:
    turns = Turns()
    waits = []
    for _ in range(3):
        waits.append(turns.longest_wait_ms(500, reading=2, of=4))
        turns.note(2, has_found=False)
    turns.note(2, has_found=True)
    waits.append(turns.longest_wait_ms(500, reading=2, of=4))

    assert waits == [0, 0, LONGEST_TURN_MS // 2, 0]


@pytest.mark.parametrize(("reading", "longest_ms", "expected"), [(1, 500, 10), (32, 500, 50), (63, 7, 7)])
def test_a_round_of_waits_takes_as_long_as_one_turn(reading: int, longest_ms: int, expected: int) -> None:
    turns = Turns()
    turns.note(64, has_found=False)

    assert turns.longest_wait_ms(longest_ms, reading=reading, of=64) == expected


@pytest.mark.parametrize("ordering", ["none", "actor"])
async def test_a_busy_stream_does_not_wait_for_quiet_ones(bench: Bench, ordering: str) -> None:
    bench.write(range(60))
    settings: dict[str, Any] = {"ordering": ordering, "concurrency": 1}
    async with bench.subscription(EVENTS, AUDITS, DEAD_LETTERS, **settings) as subscription:
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
    settings: dict[str, Any] = {"ordering": ordering, "concurrency": 1}
    async with bench.subscription(EVENTS, AUDITS, DEAD_LETTERS, **settings) as subscription:
        await anyio.sleep(0.3)
        for number in range(10):
            bench.write([number])
            with anyio.fail_after(1):
                async with await anext(subscription) as delivery:
                    assert number_of(delivery) == number
