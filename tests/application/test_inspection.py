"""Going through a stream: just what reads skip is found, page by page, and no more is read than need be."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.application.history import History
from papyra_streams.application.inspection import Bounds, Inspected, Inspection
from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.errors import Unavailable

from .fakes import FakeStore, bad, stored

pytestmark = pytest.mark.anyio

START = 1_700_000_000_000
NOW = START / 1000 + 100
STREAM = "papyra:orders:events"
KEYS = Keyspace("papyra", "orders")


class Reader:
    """Inspects a store, and keeps what it is given."""

    def __init__(self, store: FakeStore, policy: RetentionPolicy | None = None) -> None:
        self.pages: list[Inspected] = []
        self._inspection = Inspection(store, KEYS, policy or RetentionPolicy(), lambda: NOW)

    async def run(self, bounds: Bounds | None = None) -> int:
        return await self._inspection.run(Partition(EVENTS), bounds or Bounds(), self._take)

    async def _take(self, page: Inspected) -> None:
        self.pages.append(page)

    @property
    def found(self) -> list[EntryId]:
        return [each.found.id for page in self.pages for each in page.bad]


# -- pages


async def test_pages_grow_from_small_ones(store: FakeStore) -> None:
    store.put(STREAM, [stored("event", START + n) for n in range(5000)])
    reader = Reader(store)

    assert await reader.run() == 5000
    assert [page.examined for page in reader.pages] == [100, 300, 700, 1500, 2500, 3500, 4500, 5000]


async def test_pages_of_large_entries_are_small(store: FakeStore) -> None:
    large = [Entry(EntryId(START + n, 0), {b"data": b"x" * 600_000}) for n in range(12)]
    store.put(STREAM, [*large, *[stored("event", START + 50 + n) for n in range(100)]])
    reader = Reader(store)

    await reader.run()
    sizes = [later - earlier for earlier, later in zip([0, *_ends(reader)], _ends(reader), strict=False)]
    assert sizes[:2] == [100, 12]
    store.put(STREAM, [Entry(EntryId(START + 5000 + n, 0), {b"data": b"x" * 600_000}) for n in range(12)])
    reader = Reader(store)
    await reader.run()
    assert [page.examined for page in reader.pages][:3] == [100, 101, 102]


def _ends(reader: Reader) -> list[int]:
    return [page.examined for page in reader.pages]


async def test_an_empty_stream_has_no_page(store: FakeStore) -> None:
    reader = Reader(store)

    assert (await reader.run(), reader.pages) == (0, [])


async def test_the_bad_ones_of_each_page_come_with_it(store: FakeStore) -> None:
    store.put(STREAM, [bad(START + n) if n % 100 == 7 else stored("event", START + n) for n in range(300)])
    reader = Reader(store)
    await reader.run()

    assert [[each.found.id.milliseconds - START for each in page.bad] for page in reader.pages] == [[207], [107, 7]]
    assert reader.pages[0].bad[0].size == len(b"data" + b"no json")


@pytest.mark.parametrize(("most", "examined"), [(1, 1), (100, 100), (101, 101), (250, 250), (999, 300)])
async def test_no_more_entries_are_read_than_asked_for(store: FakeStore, most: int, examined: int) -> None:
    store.put(STREAM, [stored("event", START + n) for n in range(300)])

    assert await Reader(store).run(Bounds(entries=most)) == examined
    assert store.entries_read == examined


async def test_it_ends_with_so_many_good_ones(store: FakeStore) -> None:
    store.put(STREAM, [bad(START + n) if n % 2 else stored("event", START + n) for n in range(300)])

    assert await Reader(store).run(Bounds(good=60)) == 120


async def test_it_ends_where_retention_hides_everything(store: FakeStore) -> None:
    store.put(STREAM, [bad(START + n) if n % 2 else stored("event", START + n) for n in range(3000)])
    reader = Reader(store, RetentionPolicy(max_records=10))

    assert await reader.run() == 20
    assert len(reader.found) == 10


async def test_an_error_on_the_way_is_raised_as_it_is(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(STREAM, [stored("event", START + n) for n in range(300)])
    newest, away = store.newest, Unavailable("away")

    async def fail_later(*args: Any, **kwargs: Any) -> list[Entry]:
        if kwargs.get("before"):
            raise away
        return await newest(*args, **kwargs)

    monkeypatch.setattr(store, "newest", fail_later)
    reader = Reader(store)
    with pytest.raises(Unavailable) as raised:
        await reader.run()
    assert raised.value is away
    assert len(reader.pages) == 1


# -- exactly what reads skip

_payloads = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"{}", b"[]", b"null", b'{"kind":"event"}', b'{"kind":"audit","timestamp":1}', b"\xff"]),
    st.builds(
        lambda timestamp, text: stored("event", START, timestamp=timestamp, payload=text).fields[b"data"],  # type: ignore[index]
        st.one_of(st.floats(NOW - 90, NOW), st.floats(0, 1e6), st.just(1e9)),
        st.text("x", max_size=20),
    ),
)
_fields = st.one_of(
    st.builds(lambda data: {b"data": data}, _payloads),
    st.dictionaries(st.sampled_from([b"data", b"date", b""]), _payloads, min_size=1),
)
_policies = st.builds(
    RetentionPolicy,
    max_records=st.none() | st.integers(1, 8),
    max_age_seconds=st.none() | st.floats(1, 100),
    max_total_bytes=st.none() | st.integers(1, 600),
)


@given(st.lists(_fields, max_size=30))
def test_an_entry_is_found_or_read_and_never_both(fields: list[dict[bytes, bytes]]) -> None:
    found, read = _found_and_read(fields, RetentionPolicy())

    assert sorted(found + read) == [EntryId(START + 3000 * n, 0) for n in range(len(fields))]


@given(st.lists(_fields, max_size=30), _policies)
def test_what_is_found_is_skipped_and_lies_among_what_is_read(
    fields: list[dict[bytes, bytes]], policy: RetentionPolicy
) -> None:
    unlimited, _ = _found_and_read(fields, RetentionPolicy())
    found, read = _found_and_read(fields, policy)

    assert set(found) <= set(unlimited)
    # Nothing between two records that are read is hidden, unless it is too old.
    youngest = 0.0 if policy.max_age_seconds is None else NOW - policy.max_age_seconds
    among = [each for each in unlimited if read and each > min(read) and each.seconds >= youngest]
    assert set(among) <= set(found)
    assert all(each.seconds >= youngest for each in found)


def _found_and_read(fields: list[dict[bytes, bytes]], policy: RetentionPolicy) -> tuple[list[EntryId], list[EntryId]]:
    store = FakeStore()
    store.put(STREAM, [Entry(EntryId(START + 3000 * n, 0), each) for n, each in enumerate(fields)])
    reader = Reader(store, policy)

    async def look() -> list[EntryId]:
        await reader.run()
        history = History(store, KEYS, policy, lambda: NOW, max_read=1000)
        return [record.id for record in await history.newest(EVENTS, limit=None, since=None)]

    read = anyio.run(look)
    return reader.found, read
