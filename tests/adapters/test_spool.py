"""The spool in one process: what is put comes out, in order, once, and goes when it is removed."""

import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from papyra_streams import drivers
from papyra_streams.errors import SpoolFailed
from papyra_streams.ports.spool import SpoolPort
from papyra_streams_adapters.spool import spool as make_spool
from papyra_streams_adapters.spool._spool import SqliteSpool

from .spools import LARGE, batches_of, numbered, take, take_all

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outage" / "spool.sqlite"


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[SpoolPort]:
    async with aclosing(make_spool(path, LARGE)) as made:
        yield made


@pytest.fixture
async def other(path: Path) -> AsyncIterator[SpoolPort]:
    async with aclosing(make_spool(path, LARGE)) as made:
        yield made


# -- the queue


async def test_records_come_out_as_they_were_put(spool: SpoolPort) -> None:
    payloads = [b"", b"\x00\xff", b"text", bytes(2**20)]
    await spool.put("s", "p", 7, payloads)

    page = await take(spool)

    assert batches_of(page) == [("p", 7, payloads)]
    assert page.last_position == await spool.newest("s") > 0
    assert await spool.count("s") == 4


async def test_the_streams_are_told_that_have_records(spool: SpoolPort, other: SpoolPort) -> None:
    assert await spool.streams() == []
    for stream in ("b", "a"):
        await spool.put(stream, "p", 1, numbered(2))
    assert await other.streams() == ["a", "b"]

    await spool.remove("a", up_to=await spool.newest("a"))

    assert await other.streams() == ["b"]


async def test_what_is_put_outlives_the_object(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(3))
    await spool.aclose()

    async with aclosing(make_spool(path, LARGE)) as again:
        assert await take_all(again) == numbered(3)


async def test_another_object_sees_at_once_what_is_put_and_removed(spool: SpoolPort, other: SpoolPort) -> None:
    await spool.put("s", "p", 1, numbered(3))
    assert await other.count("s") == 3

    await other.remove("s", up_to=await other.newest("s"))
    assert (await spool.count("s"), await spool.oldest("s", records=1, size=1)) == (0, None)


async def test_records_stay_until_they_are_removed(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, numbered(5))

    two = await take(spool, records=2)
    assert await take(spool, records=2) == two
    await spool.remove("s", up_to=two.last_position)

    assert batches_of(await take(spool)) == [("p", 3, numbered(3, first=2))]
    assert await spool.count("s") == 3


async def test_numbers_may_be_as_large_as_a_server_counts(spool: SpoolPort) -> None:
    await spool.put("s", "p", 2**53 - 1, numbered(2))

    assert batches_of(await take(spool)) == [("p", 2**53 - 1, numbered(2))]


async def test_one_stream_does_not_see_another(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, numbered(3))

    assert (await spool.newest("t"), await spool.count("t"), await spool.oldest("t", records=9, size=9)) == (0, 0, None)
    await spool.remove("t", up_to=await spool.newest("s"))
    assert await spool.count("s") == 3


async def test_a_spool_tells_whose_records_it_holds(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, numbered(1))
    before = await spool.newest("s")
    await spool.put("s", "q", 1, numbered(1))

    assert await spool.holds("s", "p", up_to=0)
    assert not await spool.holds("s", "somebody", up_to=before - 1)
    assert await spool.holds("s", "somebody", up_to=before)
    assert not await spool.holds("t", "p", up_to=before)

    await spool.remove("s", up_to=before)
    assert not await spool.holds("s", "p", up_to=before)
    assert await spool.holds("s", "q", up_to=0)


async def test_positions_are_never_given_out_twice(spool: SpoolPort, path: Path) -> None:
    positions = []
    for _ in range(3):
        await spool.put("s", "p", 1, numbered(2))
        positions.append(await spool.newest("s"))
        await spool.remove("s", up_to=positions[-1])
    await spool.aclose()
    shutil.rmtree(path.parent)
    async with aclosing(make_spool(path, LARGE)) as again:
        await again.put("s", "p", 1, numbered(1))
        positions.append(await again.newest("s"))

    assert positions == sorted(set(positions))


async def test_many_records_are_removed_at_once(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, [b"x"] * 10_000)
    await spool.put("t", "p", 1, [b"x"])

    await spool.remove("s", up_to=await spool.newest("s"))

    assert (await spool.count("s"), await spool.newest("s"), await spool.count("t")) == (0, 0, 1)


async def test_tasks_may_put_at_once(spool: SpoolPort) -> None:
    async with anyio.create_task_group() as tasks:
        for producer in range(20):
            tasks.start_soon(spool.put, "s", f"p{producer}", 1, numbered(50))

    batches = batches_of(await take(spool))
    assert sorted(batches) == sorted((f"p{producer}", 1, numbered(50)) for producer in range(20))


# -- the file


async def test_asking_makes_no_file(spool: SpoolPort, path: Path) -> None:
    assert (await spool.newest("s"), await spool.count("s")) == (0, 0)
    assert await spool.oldest("s", records=1, size=1) is None
    assert not await spool.holds("s", "p", up_to=2**60)
    await spool.remove("s", up_to=2**60)
    await spool.put("s", "p", 1, [])

    assert not path.parent.exists()


async def test_only_the_owner_may_read_it(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(1))

    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


async def test_any_path_will_do(tmp_path: Path) -> None:
    path = tmp_path / "50% of a ?#& place" / "späte.sqlite"
    async with aclosing(make_spool(path, LARGE)) as spool:
        await spool.put("s", "p", 1, numbered(1))

        assert path.exists()
        assert await take_all(spool) == numbered(1)


async def test_a_relative_path_means_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with aclosing(make_spool(Path("a/spool.sqlite"), LARGE)) as spool:
        await spool.put("s", "p", 1, numbered(1))

    assert (tmp_path / "a" / "spool.sqlite").exists()


async def test_each_record_is_synced_to_disk(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, numbered(1))

    assert isinstance(spool, SqliteSpool)
    connection = spool._file.existing()
    assert connection is not None
    full = 2
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (full,)


async def test_the_disk_has_its_room_back_when_all_is_taken(spool: SpoolPort, path: Path) -> None:
    for first in range(0, 20_000, 1000):
        await spool.put("s", "p", first, [bytes(1000)] * 1000)
    assert on_disk(path) > 20_000_000

    assert len(await take_all(spool)) == 20_000

    assert on_disk(path) < 200_000


async def test_a_spool_grows_up_to_its_bound(path: Path) -> None:
    bound = 2_000_000
    async with aclosing(make_spool(path, bound)) as spool:
        with pytest.raises(SpoolFailed, match=r"spool\.sqlite .*full"):
            await put_on(spool)

        stored = await spool.count("s")
        assert on_disk(path) <= bound
        assert stored * 1000 > bound * 0.5
        page = await take(spool, records=100)
        await spool.remove("s", up_to=page.last_position)
        await spool.put("s", "p", stored, [bytes(1000)] * 50)
        assert len(await take_all(spool)) == stored - 50


async def test_a_put_past_the_bound_leaves_nothing(path: Path) -> None:
    async with aclosing(make_spool(path, 500_000)) as spool:
        await spool.put("s", "p", 1, numbered(1))
        with pytest.raises(SpoolFailed, match="full"):
            await spool.put("s", "p", 2, [bytes(1000)] * 1000)

        assert (await spool.count("s"), await take_all(spool)) == (1, numbered(1))


async def test_a_spool_that_is_moved_away_is_made_anew(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(3))
    path.parent.rename(path.parent.with_name("moved"))
    assert (await spool.count("s"), await spool.newest("s")) == (0, 0)

    await spool.put("s", "p", 4, numbered(1))

    assert await take_all(spool) == numbered(1)
    async with aclosing(make_spool(path.parent.with_name("moved") / path.name, LARGE)) as moved:
        assert await take_all(moved) == numbered(3)


async def put_on(spool: SpoolPort) -> None:
    for first in range(0, 10_000, 10):
        await spool.put("s", "p", first, [bytes(1000)] * 10)


def on_disk(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.parent.iterdir() if not file.name.endswith("-shm"))


async def test_the_package_offers_it(path: Path) -> None:
    made = drivers.spool()(path, LARGE)

    assert isinstance(made, SqliteSpool)
    await made.aclose()
