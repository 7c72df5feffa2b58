"""Where compaction cuts: behind everything a read returns, and never into what arrives meanwhile."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.application.compaction import Compaction
from papyra_streams.application.history import History
from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.reports import HeldBack
from papyra_streams.ports import Demand, Obstacle

from .fakes import FakeStore, bad, stored

pytestmark = pytest.mark.anyio

START = 1_700_000_000_000
NOW = START / 1000 + 100
STREAM = "papyra:orders:events"
KEYS = Keyspace("papyra", "orders")


def compaction(store: FakeStore, **limits: Any) -> Compaction:
    policy = RetentionPolicy(**limits)
    return Compaction(store, KEYS, policy, lambda: NOW, approximate=False, abandoned_after=None)


def seconds(*offsets: float) -> list[Entry]:
    """Return events recorded so many seconds after the start."""
    return [stored("event", START + int(offset * 1000)) for offset in offsets]


def left(store: FakeStore) -> list[float]:
    return [(entry.id.milliseconds - START) / 1000 for entry in store.streams[STREAM]]


# -- what is cut


@pytest.mark.parametrize("limits", [{}, {"max_records": 9}, {"max_age_seconds": 1000}, {"max_total_bytes": 10_000}])
async def test_where_nothing_is_hidden_nothing_is_trimmed(store: FakeStore, limits: dict[str, Any]) -> None:
    store.put(STREAM, [bad(START), *seconds(1, 2, 3)])
    await compaction(store, **limits).run()

    assert store.trims == []


async def test_an_empty_stream_is_not_trimmed(store: FakeStore) -> None:
    await compaction(store, max_records=1).run()

    assert store.trims == []


async def test_what_is_older_than_the_oldest_shown_goes(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3, 4))
    await compaction(store, max_records=2).run()

    assert left(store) == [3, 4]


async def test_age_is_made_physical_too(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 90, 91))
    await compaction(store, max_age_seconds=20).run()

    assert left(store) == [90, 91]


async def test_the_size_is_made_physical_too(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3))
    await compaction(store, max_total_bytes=len(store.payloads(STREAM)[0]) * 2).run()

    assert left(store) == [2, 3]


async def test_bad_entries_do_not_count_towards_max_records(store: FakeStore) -> None:
    store.put(STREAM, [*seconds(1, 2), bad(START + 3000), *seconds(4), bad(START + 5000)])
    await compaction(store, max_records=2).run()

    assert left(store) == [2, 3, 4, 5]


async def test_a_hidden_record_between_shown_ones_stays(store: FakeStore) -> None:
    store.put(STREAM, [*seconds(1), *seconds(90), stored("event", START + 91_000, timestamp=1e9), *seconds(92)])
    await compaction(store, max_age_seconds=20).run()

    assert left(store) == [90, 91, 92]


# -- all of it is hidden


async def test_where_all_is_hidden_the_cut_is_right_behind_the_newest(store: FakeStore) -> None:
    store.put(STREAM, seconds(30, 31, 32))
    await compaction(store, max_age_seconds=20).run()

    assert store.trims == [(STREAM, EntryId(START + 32_000, 1))]
    assert left(store) == []


async def test_what_has_been_there_for_a_minute_longer_than_the_age_is_not_read(store: FakeStore) -> None:
    store.put(STREAM, seconds(*(each / 100 for each in range(1900)), 30, 85))
    await compaction(store, max_age_seconds=20).run()

    assert left(store) == [85]
    assert store.entries_read < 10


async def test_what_is_appended_meanwhile_survives(store: FakeStore) -> None:
    store.put(STREAM, seconds(30, 31, 32))
    late = Entry(EntryId(START + 32_000, 1), {b"data": b"late"})
    store.before_trim = lambda: store.put(STREAM, [late])
    await compaction(store, max_age_seconds=20).run()

    assert store.streams[STREAM] == [late]


async def test_a_first_record_that_is_too_large_hides_all(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3))
    await compaction(store, max_total_bytes=1).run()

    assert store.trims == [(STREAM, EntryId(START + 3000, 1))]


async def test_bad_entries_alone_hide_nothing(store: FakeStore) -> None:
    store.put(STREAM, [bad(START + n) for n in range(3)])
    await compaction(store, max_records=1, max_age_seconds=200).run()

    assert store.trims == []


@pytest.mark.parametrize("limits", [{}, {"max_records": 1}, {"max_total_bytes": 9999}])
async def test_bad_entries_grow_old_by_their_ids(store: FakeStore, limits: dict[str, Any]) -> None:
    store.put(STREAM, [bad(START + 1000 * n) for n in (1, 50, 79, 80, 90)])
    await compaction(store, max_age_seconds=20, **limits).run()

    assert left(store) == [80, 90]


@pytest.mark.parametrize("limits", [{}, {"max_records": 5}])
async def test_a_young_bad_entry_stays_though_every_record_goes(store: FakeStore, limits: dict[str, Any]) -> None:
    young = bad(START + 90_000)
    store.put(STREAM, [*seconds(1, 2, 70), young, stored("event", START + 91_000, timestamp=1e9)])
    await compaction(store, max_age_seconds=20, **limits).run()

    assert left(store) == [90, 91]


async def test_ids_that_are_no_times_hide_nothing_that_is_young(store: FakeStore) -> None:
    store.put(STREAM, [stored("event", 5, timestamp=NOW), stored("event", 6, timestamp=1e9), stored("event", 7)])
    await compaction(store, max_age_seconds=20).run()

    assert [entry.id.milliseconds for entry in store.streams[STREAM]] == [5, 6, 7]


# -- what would go


async def test_a_dry_run_counts_and_removes_nothing(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3, 90))
    report = await compaction(store, max_age_seconds=20).run(dry=True)

    assert (report.removed_records, report.before_records, report.after_records, report.dry_run) == (3, 4, 1, True)
    assert left(store) == [1, 2, 3, 90]
    assert report.before_bytes
    assert report.after_bytes == report.before_bytes // 4


async def test_a_dry_run_of_nothing_hides_nothing(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3))
    report = await compaction(store, max_records=3).run(dry=True)

    assert (report.removed_records, report.after_records, store.trims) == (0, 3, [])


# -- nothing that a read returns goes

_layout = st.lists(st.tuples(st.integers(0, 90), st.booleans(), st.text("x", max_size=30)), max_size=20)


@given(
    _layout,
    st.builds(
        RetentionPolicy,
        max_records=st.none() | st.integers(1, 10),
        max_age_seconds=st.none() | st.floats(1, 100),
        max_total_bytes=st.none() | st.integers(1, 800),
    ),
)
def test_reads_return_the_same_before_and_after(layout: list[tuple[int, bool, str]], policy: RetentionPolicy) -> None:
    store = FakeStore()
    for position, (second, is_bad, words) in enumerate(layout):
        moment = START + position
        entry = bad(moment) if is_bad else stored("event", moment, timestamp=START / 1000 + second, payload=words)
        store.put(STREAM, [entry])

    async def read_compact_and_read() -> None:
        history = History(store, KEYS, policy, lambda: NOW, max_read=1000)
        before = await history.newest(EVENTS, limit=None, since=None)
        await Compaction(store, KEYS, policy, lambda: NOW, approximate=False, abandoned_after=None).run()
        assert await history.newest(EVENTS, limit=None, since=None) == before

    anyio.run(read_compact_and_read)


# -- what is reported


async def test_the_report_counts_records_and_bytes_of_all_streams(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3))
    store.put("papyra:orders:audits", [stored("audit", START)])
    size = len(store.payloads(STREAM)[0])
    report = await compaction(store, max_records=1).run()

    assert (report.before_records, report.after_records, report.removed_records) == (4, 2, 2)
    assert report.reclaimed_bytes == 2 * size


async def test_a_server_that_does_not_tell_sizes_leaves_the_bytes_open(store: FakeStore) -> None:
    store.tells_memory = False
    report = await compaction(store).run()

    assert (report.before_bytes, report.after_bytes, report.reclaimed_bytes) == (None, None, None)


async def test_a_group_that_holds_compaction_back_is_named(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3))
    store.obstacle = Obstacle(
        stream=STREAM, group="billing", needs=EntryId(START + 1000, 0), consumer="till", age_ms=1500
    )
    report = await compaction(store, max_records=1).run()

    assert report.held_back == (
        HeldBack(stream=STREAM, group="billing", needs=f"{START + 1000}-0", consumer="till", age=1.5),
    )


# -- what groups need, without trimming


def demand(group: str, seconds: float | None, *, is_abandoned: bool = False) -> Demand:
    needs = None if seconds is None else EntryId(START + int(seconds * 1000), 0)
    return Demand(group=group, needs=needs, consumer=None, silence_ms=None, is_abandoned=is_abandoned)


@pytest.mark.parametrize(
    ("groups", "removed", "holder", "abandoned"),
    [
        ([demand("done", None)], 3, None, ()),
        ([demand("slow", 2)], 1, "slow", ()),
        ([demand("slow", 3), demand("slower", 2)], 1, "slower", ()),
        ([demand("ahead", 90)], 3, None, ()),
        ([demand("dead", 1, is_abandoned=True)], 3, None, ("dead",)),
        ([demand("dead", 1, is_abandoned=True), demand("slow", 3)], 2, "slow", ("dead",)),
        ([demand("dead", 3, is_abandoned=True), demand("slow", 2)], 1, "slow", ()),
    ],
)
async def test_a_dry_run_tells_who_would_hold_it_back_and_who_would_lose(
    store: FakeStore, groups: list[Demand], removed: int, holder: str | None, abandoned: tuple[str, ...]
) -> None:
    store.put(STREAM, seconds(1, 2, 3, 90))
    store.groups_behind = groups
    report = await compaction(store, max_age_seconds=20).run(dry=True)
    told = report.streams[0]

    assert (told.removed_records, told.abandoned) == (removed, abandoned)
    assert (told.held_back.group if told.held_back else None) == holder


async def test_what_is_old_by_one_of_two_clocks_alone_stays(store: FakeStore) -> None:
    store.put(STREAM, seconds(1, 2, 3))
    store.moment_ms = START + 10_000
    await compaction(store, max_age_seconds=20).run()

    assert left(store) == [1, 2, 3]
