"""Reading back: the newest records, oldest of them first, with effort that follows the limit."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.application.history import PAGE, History, newest_first
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import AUDITS, EVENTS
from papyra_streams.domain.records import Record
from papyra_streams.errors import InvalidValue

from .fakes import FakeStore, bad, stored

pytestmark = pytest.mark.anyio

START = 1_700_000_000_000
STREAM = "papyra:orders:events"

MakeHistory = Callable[..., History]


@pytest.fixture
def make_history(store: FakeStore, keys: Keyspace) -> MakeHistory:
    """Return a function that makes a history which reads at 1 700 001 000 s."""

    def make(policy: RetentionPolicy | None = None, *, max_read: int = 50_000) -> History:
        return History(store, keys, policy or RetentionPolicy(), lambda: START / 1000 + 1000, max_read=max_read)

    return make


def fill(store: FakeStore, count: int) -> None:
    """Record events a millisecond apart, each with its number."""
    store.put(STREAM, [stored("event", START + n, payload=n) for n in range(count)])


def numbers(found: list[Record]) -> list[int]:
    return [record.row["payload"] for record in found]


# -- limit


async def test_without_a_limit_everything_comes_oldest_first(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 2 * PAGE + 5)

    assert numbers(await make_history().newest(EVENTS, limit=None, since=None)) == list(range(2 * PAGE + 5))


@pytest.mark.parametrize("limit", [1, 3, PAGE, PAGE + 1])
async def test_a_limit_gives_the_newest(store: FakeStore, make_history: MakeHistory, limit: int) -> None:
    fill(store, 3 * PAGE)

    assert numbers(await make_history().newest(EVENTS, limit=limit, since=None)) == list(
        range(3 * PAGE - limit, 3 * PAGE)
    )


@pytest.mark.parametrize(("limit", "read"), [(0, 0), (1, 1), (3, 3), (PAGE, PAGE), (PAGE + 1, 2 * PAGE)])
async def test_no_more_is_read_than_the_limit_asks_for(
    store: FakeStore, make_history: MakeHistory, limit: int, read: int
) -> None:
    fill(store, 5 * PAGE)
    await make_history().newest(EVENTS, limit=limit, since=None)

    assert store.entries_read == read


async def test_a_limit_is_reached_past_bad_entries(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 5)
    store.put(STREAM, [bad(START + 10 + n) for n in range(PAGE)])

    assert numbers(await make_history().newest(EVENTS, limit=2, since=None)) == [3, 4]


async def test_a_limit_above_what_there_is_gives_what_there_is(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 3)

    assert numbers(await make_history().newest(EVENTS, limit=100, since=None)) == [0, 1, 2]


async def test_an_empty_stream_gives_nothing(make_history: MakeHistory) -> None:
    assert await make_history().newest(AUDITS, limit=None, since=None) == []


# -- max_read


@pytest.mark.parametrize("max_read", [1, 7, PAGE, PAGE + 1])
async def test_max_read_counts_from_the_newest(store: FakeStore, make_history: MakeHistory, max_read: int) -> None:
    fill(store, 2 * PAGE)
    found = await make_history(max_read=max_read).newest(EVENTS, limit=None, since=None)

    assert numbers(found) == list(range(2 * PAGE - max_read, 2 * PAGE))
    assert store.entries_read == max_read


async def test_bad_entries_count_towards_max_read(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 5)
    store.put(STREAM, [bad(START + 10), bad(START + 11)])

    assert numbers(await make_history(max_read=3).newest(EVENTS, limit=None, since=None)) == [4]


# -- since


async def test_since_gives_what_was_recorded_then_or_later(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 10)

    assert numbers(await make_history().newest(EVENTS, limit=None, since=(START + 7) / 1000)) == [7, 8, 9]


async def test_the_limit_counts_what_since_lets_through(store: FakeStore, make_history: MakeHistory) -> None:
    store.put(STREAM, [stored("event", START + 1, payload=1), stored("event", START + 2, timestamp=1e9, payload=2)])
    since = START / 1000

    assert numbers(await make_history().newest(EVENTS, limit=1, since=since)) == [1]


async def test_since_in_wall_time_finds_records_of_the_default_clock(
    store: FakeStore, make_history: MakeHistory
) -> None:
    store.put(STREAM, [stored("event", START + n * 1000, timestamp=5.0 + n, payload=n) for n in range(5)])

    assert numbers(await make_history().newest(EVENTS, limit=None, since=START / 1000 + 3)) == [3, 4]


async def test_since_on_the_default_clock_is_compared_as_it_is(store: FakeStore, make_history: MakeHistory) -> None:
    store.put(STREAM, [stored("event", START + n * 1000, timestamp=5.0 + n, payload=n) for n in range(5)])

    assert numbers(await make_history().newest(EVENTS, limit=None, since=8.0)) == [3, 4]


async def test_reading_stops_once_ids_are_an_hour_older_than_since(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 5 * PAGE)
    store.put(STREAM, [stored("event", START + 7_200_000, payload="new")])
    found = await make_history().newest(EVENTS, limit=None, since=START / 1000 + 7100)

    assert [record.row["payload"] for record in found] == ["new"]
    assert store.entries_read == PAGE


# -- retention


async def test_retention_hides_before_since_and_limit_choose(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 10)
    history = make_history(RetentionPolicy(max_records=4))

    assert numbers(await history.newest(EVENTS, limit=None, since=None)) == [6, 7, 8, 9]
    assert numbers(await history.newest(EVENTS, limit=2, since=START / 1000)) == [8, 9]


async def test_reading_stops_where_retention_shows_nothing_more(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 5 * PAGE)
    await make_history(RetentionPolicy(max_records=4)).newest(EVENTS, limit=None, since=None)

    assert store.entries_read == PAGE


async def test_bad_entries_do_not_count_towards_max_records(store: FakeStore, make_history: MakeHistory) -> None:
    fill(store, 3)
    store.put(STREAM, [bad(START + 10)])

    assert numbers(await make_history(RetentionPolicy(max_records=2)).newest(EVENTS, limit=None, since=None)) == [1, 2]


# -- arguments


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
async def test_a_limit_that_is_no_count_is_refused(make_history: MakeHistory, limit: Any) -> None:
    with pytest.raises(InvalidValue, match="`limit`"):
        await make_history().newest(EVENTS, limit=limit, since=None)


@pytest.mark.parametrize("since", ["yesterday", True, math.nan])
async def test_a_since_that_is_no_time_is_refused(make_history: MakeHistory, since: Any) -> None:
    with pytest.raises(InvalidValue, match="`since`"):
        await make_history().newest(EVENTS, limit=None, since=since)


# -- paging


async def test_entries_that_vanish_between_pages_do_not_make_others_come_twice(store: FakeStore) -> None:
    fill(store, 10)
    async with newest_first(store, [STREAM], at_most=None, page=3) as walk:
        first = [await anext(walk) for _ in range(3)]
        store.streams[STREAM] = store.streams[STREAM][:5]
        rest = [entry async for entry in walk]

    assert [entry.id.milliseconds - START for _, entry in [*first, *rest]] == [9, 8, 7, 4, 3, 2, 1, 0]


async def test_entries_that_arrive_between_pages_are_not_walked(store: FakeStore) -> None:
    fill(store, 4)
    async with newest_first(store, [STREAM], at_most=None, page=2) as walk:
        first = await anext(walk)
        store.put(STREAM, [stored("event", START + 10)])
        rest = [entry async for entry in walk]

    assert [entry.id.milliseconds - START for _, entry in [first, *rest]] == [3, 2, 1, 0]
