"""Reading and compacting several partitions: as if their entries were in one stream, in the order of their ids."""

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.application.compaction import Compaction
from papyra_streams.application.history import PAGE, History
from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import Record

from .fakes import FakeStore, bad, stored

pytestmark = pytest.mark.anyio

START = 1_700_000_000_000
NOW = START / 1000 + 100
WHOLE = Keyspace("papyra", "orders")
PARTS = Keyspace("papyra", "orders", partitions=3)

Layout = list[tuple[int, int, bool, str]]
"""Of each entry: its partition, its timestamp in seconds after the start, whether it is bad, and some text."""


def stream(number: int) -> str:
    return PARTS.stream(Partition(EVENTS, number))


def fill(store: FakeStore, counts: Sequence[int]) -> None:
    """Record events a millisecond apart, so many in each partition, by turns while there are any."""
    turns = [number for turn in range(max(counts)) for number, count in enumerate(counts) if turn < count]
    for moment, number in enumerate(turns):
        store.put(stream(number), [stored("event", START + moment, payload=moment)])


def history(store: FakeStore, policy: RetentionPolicy | None = None, **options: Any) -> History:
    chosen: dict[str, Any] = {"keys": PARTS, "max_read": 50_000} | options
    return History(store, chosen["keys"], policy or RetentionPolicy(), lambda: NOW, max_read=chosen["max_read"])


def compaction(store: FakeStore, policy: RetentionPolicy) -> Compaction:
    return Compaction(store, PARTS, policy, lambda: NOW, approximate=False, abandoned_after=None)


def numbers(found: list[Record]) -> list[int]:
    return [record.row["payload"] for record in found]


# -- reading


async def test_the_newest_of_all_come_oldest_first(store: FakeStore) -> None:
    fill(store, [10, 3, 5])

    assert numbers(await history(store).newest(EVENTS, limit=None, since=None)) == list(range(18))
    assert numbers(await history(store).newest(EVENTS, limit=7, since=None)) == list(range(11, 18))


async def test_little_more_is_read_than_the_limit_asks_for_where_all_are_equally_busy(store: FakeStore) -> None:
    fill(store, [PAGE, PAGE, PAGE])
    await history(store).newest(EVENTS, limit=300, since=None)

    assert store.entries_read <= 300 * 5 // 4 + 3 * 2


async def test_where_one_is_busy_memory_still_follows_the_limit(store: FakeStore) -> None:
    store.put(stream(0), [stored("event", START + n, payload=n) for n in range(3)])
    store.put(stream(2), [stored("event", START + 10 + n, payload=n) for n in range(5 * PAGE)])
    found = await history(store).newest(EVENTS, limit=300, since=None)

    assert numbers(found) == list(range(5 * PAGE - 300, 5 * PAGE))
    assert store.entries_read <= 3 * 300


async def test_max_read_bounds_what_is_read_of_all_together(store: FakeStore) -> None:
    fill(store, [50, 50, 50])

    assert numbers(await history(store, max_read=20).newest(EVENTS, limit=None, since=None)) == list(range(130, 150))


async def test_of_equal_ids_none_is_lost(store: FakeStore) -> None:
    for number in range(3):
        store.put(stream(number), [stored("event", START, payload=number), stored("event", START + 1, payload=number)])

    assert sorted(numbers(await history(store).newest(EVENTS, limit=None, since=None))) == [0, 0, 1, 1, 2, 2]
    assert numbers(await history(store).newest(EVENTS, limit=2, since=None)) == [1, 0]


# -- as in one stream

_policies = st.builds(
    RetentionPolicy,
    max_records=st.none() | st.integers(1, 10),
    max_age_seconds=st.none() | st.floats(1, 100),
    max_total_bytes=st.none() | st.integers(1, 800),
)
_layouts = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 100), st.booleans(), st.text("xy", max_size=20)), max_size=30
)


def put_all(store: FakeStore, layout: Layout, *, apart_ms: int = 1) -> None:
    """Put each entry in its partition, and in a store of its own all of them in one stream."""
    for position, (number, second, is_bad, words) in enumerate(layout):
        moment = START + position * apart_ms
        entry = bad(moment) if is_bad else stored("event", moment, timestamp=START / 1000 + second, payload=words)
        store.put(stream(number), [entry])


def whole(layout: Layout) -> FakeStore:
    store = FakeStore()
    put_all(store, [(0, *rest) for _, *rest in layout])  # type: ignore[misc]  # the rest is as it was
    return store


@given(_layouts, _policies, st.none() | st.integers(1, 12), st.none() | st.integers(0, 100), st.integers(1, 40))
def test_reads_are_those_of_one_stream(
    layout: Layout, policy: RetentionPolicy, limit: int | None, since: int | None, max_read: int
) -> None:
    divided = FakeStore()
    put_all(divided, layout)

    async def read_both() -> None:
        asked: Any = {"limit": limit, "since": None if since is None else START / 1000 + since}
        expected = await history(whole(layout), policy, keys=WHOLE, max_read=max_read).newest(EVENTS, **asked)
        assert await history(divided, policy, max_read=max_read).newest(EVENTS, **asked) == expected

    anyio.run(read_both)


@given(_layouts, _policies)
@example([(1, 50, False, ""), (0, 50, False, ""), (0, 50, False, "")], RetentionPolicy(max_records=2))
def test_reads_return_the_same_before_and_after_a_compaction(layout: Layout, policy: RetentionPolicy) -> None:
    store = FakeStore()
    put_all(store, layout)

    async def read_compact_and_read() -> None:
        before = await history(store, policy).newest(EVENTS, limit=None, since=None)
        await compaction(store, policy).run()
        assert await history(store, policy).newest(EVENTS, limit=None, since=None) == before

    anyio.run(read_compact_and_read)


@given(_layouts, _policies)
def test_what_compaction_leaves_begins_in_each_partition_with_what_is_shown(
    layout: Layout, policy: RetentionPolicy
) -> None:
    store = FakeStore()
    put_all(store, [(number, second, False, words) for number, second, _, words in layout])

    async def compact_and_read() -> None:
        await compaction(store, policy).run()
        shown = {record.id for record in await history(store, policy).newest(EVENTS, limit=None, since=None)}
        for number in range(3):
            assert not store.streams[stream(number)] or store.streams[stream(number)][0].id in shown

    anyio.run(compact_and_read)


# -- compacting


def left(store: FakeStore) -> list[list[int]]:
    return [[entry.id.milliseconds - START for entry in store.streams[stream(number)]] for number in range(3)]


async def test_the_number_of_records_holds_for_all_together(store: FakeStore) -> None:
    fill(store, [5, 5, 2])
    report = await compaction(store, RetentionPolicy(max_records=4)).run()

    assert left(store) == [[8, 10], [9, 11], []]
    assert [each.stream for each in report.streams] == [
        "papyra:orders:events",
        "papyra:orders:events:1",
        "papyra:orders:events:2",
        "papyra:orders:audits",
        "papyra:orders:dead_letters",
        "papyra:orders:dead_letters:1",
        "papyra:orders:dead_letters:2",
    ]
    assert [each.removed_records for each in report.streams[:3]] == [3, 3, 2]


async def test_a_partition_that_is_not_reached_loses_all_but_what_arrives_meanwhile(store: FakeStore) -> None:
    store.put(stream(1), [stored("event", START + n) for n in range(3)])
    store.put(stream(0), [stored("event", START + 10 + n) for n in range(3)])
    store.before_trim = lambda: store.put(stream(1), [stored("event", START + 20)])
    await compaction(store, RetentionPolicy(max_records=1)).run()

    assert left(store)[0] == [12]
    assert 20 in left(store)[1]
    assert not {0, 1, 2} & {*left(store)[1]}


async def test_age_alone_is_found_in_each_partition_from_its_oldest_entry(store: FakeStore) -> None:
    for number in range(2):
        store.put(stream(number), [stored("event", START + second * 1000) for second in (1, 2, 90)])
        store.put(stream(number), [stored("event", START + 91_000 + n) for n in range(3000)])
    await compaction(store, RetentionPolicy(max_age_seconds=20)).run()

    assert [len(each) for each in left(store)] == [3001, 3001, 0]
    assert store.entries_read < 1000


async def test_where_nothing_is_hidden_nothing_is_trimmed(store: FakeStore) -> None:
    fill(store, [3, 3, 3])
    await compaction(store, RetentionPolicy(max_records=9)).run()

    assert store.trims == []


async def test_ids_that_are_no_times_are_compacted_as_well(store: FakeStore) -> None:
    rows = [Entry(EntryId(1 + n, 0), stored("event", START + n * 50_000).fields) for n in range(3)]
    store.put(stream(0), rows[::2])
    store.put(stream(1), rows[1:2])
    await compaction(store, RetentionPolicy(max_age_seconds=20)).run()

    assert [len(store.streams[stream(number)]) for number in range(3)] == [1, 0, 0]
