"""Files that cannot be used: said so, never overwritten, and taken up again as soon as they can be."""

import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest

from papyra_streams.errors import ConfigurationError, SpoolCorrupt, SpoolFailed
from papyra_streams.ports.spool import SpoolPort
from papyra_streams_adapters.spool import _file
from papyra_streams_adapters.spool import spool as make_spool

from .spools import LARGE, batches_of, take

pytestmark = pytest.mark.anyio

RECORDS = [b"%d" % number for number in range(10)]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_file, "PATIENCE", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[SpoolPort]:
    async with aclosing(make_spool(path, LARGE)) as made:
        yield made


async def fill(path: Path, count: int = 1000) -> None:
    """Leave a spool behind."""
    async with aclosing(make_spool(path, LARGE)) as filler:
        await filler.put("s", "p", 0, [bytes(100)] * count)


async def refuses(spool: SpoolPort, error: type[SpoolFailed], words: str) -> None:
    """Check what each call says."""
    with pytest.raises(error, match=words) as caught:
        await spool.put("s", "p", 0, RECORDS)
    assert type(caught.value) is error
    with pytest.raises(error, match=words):
        await spool.newest("s")
    with pytest.raises(error, match=words):
        await spool.holds("s", "p", up_to=1)
    with pytest.raises(error, match=words):
        await spool.oldest("s", records=1, size=1)
    with pytest.raises(error, match=words):
        await spool.count("s")


# -- what is no spool of ours


async def test_a_file_of_something_else_is_left_as_it_is(spool: SpoolPort, path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)

    await refuses(spool, SpoolCorrupt, r"spool\.sqlite .*file is not a database")

    assert path.read_bytes() == b"Dear diary, " * 1000


async def test_a_database_of_somebody_else_is_left_as_it_is(spool: SpoolPort, path: Path) -> None:
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE records (theirs)")
        theirs.commit()
    before = path.read_bytes()

    await refuses(spool, SpoolCorrupt, r"spool\.sqlite is a database, but no spool")

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_a_spool_of_a_newer_version_is_left_as_it_is(spool: SpoolPort, path: Path) -> None:
    await fill(path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 2")
    before = path.read_bytes()

    await refuses(spool, SpoolCorrupt, "has version 2; this one knows version 1")

    assert path.read_bytes() == before


@pytest.mark.parametrize("length", [10, 100, 4096, 20_000])
async def test_a_file_that_was_cut_is_damaged(spool: SpoolPort, path: Path, length: int) -> None:
    await fill(path)
    with path.open("r+b") as file:
        file.truncate(length)

    await refuses(spool, SpoolCorrupt, r"spool\.sqlite is damaged, or is none")

    assert path.stat().st_size == length


async def test_a_file_that_was_scribbled_on_is_damaged(spool: SpoolPort, path: Path) -> None:
    await fill(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))

    await refuses(spool, SpoolCorrupt, r"spool\.sqlite is damaged")


async def test_a_file_without_its_tables_is_damaged(spool: SpoolPort, path: Path) -> None:
    await fill(path)
    with closing(sqlite3.connect(path)) as vandal:
        vandal.execute("DROP TABLE records")
        vandal.commit()

    with pytest.raises(SpoolCorrupt, match="no such table"):
        await spool.newest("s")


async def test_a_new_spool_is_made_when_a_damaged_one_is_moved_away(spool: SpoolPort, path: Path) -> None:
    await fill(path)
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(SpoolCorrupt, match=r"Move it away, .*; a new one is made"):
        await spool.put("s", "p", 0, RECORDS)
    path.rename(path.with_name("moved"))

    await spool.put("s", "p", 0, RECORDS)

    assert await spool.count("s") == len(RECORDS)


async def test_an_empty_file_becomes_a_spool(spool: SpoolPort, path: Path) -> None:
    path.touch()

    assert await spool.newest("s") == 0
    await spool.put("s", "p", 0, RECORDS)
    assert await spool.count("s") == len(RECORDS)


async def test_a_file_whose_making_was_cut_short_becomes_a_spool(spool: SpoolPort, path: Path) -> None:
    with closing(sqlite3.connect(path)) as killed:
        killed.execute("PRAGMA auto_vacuum = FULL")
    assert path.stat().st_size == 4096

    await spool.put("s", "p", 0, RECORDS)
    assert await spool.count("s") == len(RECORDS)


# -- what cannot be used for now


async def test_a_directory_in_its_place_is_in_the_way(spool: SpoolPort, path: Path) -> None:
    path.mkdir()
    await refuses(spool, SpoolFailed, r"spool\.sqlite cannot be used for now: unable to open database file")

    path.rmdir()
    await spool.put("s", "p", 0, RECORDS)
    assert await spool.count("s") == len(RECORDS)


async def test_a_file_in_place_of_its_directory_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with aclosing(make_spool(tmp_path / "file" / "spool.sqlite", LARGE)) as spool:
        await refuses(spool, SpoolFailed, "Not a directory")
        with pytest.raises(SpoolFailed, match="Not a directory|File exists"):
            await spool.lead()


async def test_a_link_to_nowhere_is_in_the_way(spool: SpoolPort, path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")

    with pytest.raises(SpoolFailed, match="link to nowhere"):
        await spool.put("s", "p", 0, RECORDS)


async def test_a_spool_that_another_process_holds_fails_after_a_while(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 0, RECORDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolFailed, match="database is locked") as caught:
            await spool.put("s", "p", 10, RECORDS)
        assert not isinstance(caught.value, SpoolCorrupt)
        assert await spool.count("s") == len(RECORDS)

    await spool.put("s", "p", 10, RECORDS)
    assert await spool.count("s") == 2 * len(RECORDS)


def test_a_platform_without_file_locks_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "papyra_streams_adapters.spool._spool")
    monkeypatch.delitem(sys.modules, "papyra_streams_adapters._locks")
    monkeypatch.setitem(sys.modules, "fcntl", None)

    with pytest.raises(ConfigurationError, match="`spool_dir` works on Linux and macOS only"):
        make_spool(path, LARGE)


# -- removals that fail


async def test_what_could_not_be_removed_counts_as_removed(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 0, RECORDS)
    page = await take(spool, records=4)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolFailed, match="database is locked"):
            await spool.remove("s", up_to=page.last_position)

        assert await spool.count("s") == 6
        rest = await take(spool)
        assert batches_of(rest) == [("p", 4, RECORDS[4:])]
        assert not await spool.holds("s", "somebody", up_to=page.last_position)
        with pytest.raises(SpoolFailed):
            await spool.remove("s", up_to=rest.last_position)
        assert (await spool.newest("s"), await spool.count("s")) == (0, 0)
        assert not await spool.holds("s", "p", up_to=rest.last_position)


@pytest.mark.parametrize("call", ["put", "newest", "remove", "of another stream"])
async def test_what_could_not_be_removed_is_removed_by_the_next_call_that_can(
    spool: SpoolPort, path: Path, call: str
) -> None:
    await spool.put("s", "p", 0, RECORDS)
    owed = await spool.newest("s")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolFailed):
            await spool.remove("s", up_to=owed)

    if call == "put":
        await spool.put("s", "p", 20, RECORDS)
    elif call == "newest":
        await spool.newest("s")
    elif call == "remove":
        await spool.remove("s", up_to=1)
    else:
        await spool.remove("t", up_to=1)

    async with aclosing(make_spool(path, LARGE)) as other:
        assert not await other.holds("s", "nobody", up_to=owed)
        assert await other.count("s") == (len(RECORDS) if call == "put" else 0)


async def test_nothing_is_owed_to_a_spool_that_is_gone(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 0, RECORDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolFailed):
            await spool.remove("s", up_to=await spool.newest("s"))
    shutil.rmtree(path.parent)

    await spool.put("s", "p", 0, RECORDS)

    assert await spool.count("s") == len(RECORDS)
