"""Calls of a spool: in threads, cancelled at any point, too late, and of those who want to empty it."""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from papyra_streams.errors import Closed
from papyra_streams.ports.spool import SpoolPort
from papyra_streams_adapters.spool import spool as make_spool

from .spools import LARGE, at_work, held, numbered, take_all, until

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


# -- threads and cancellation


async def test_the_event_loop_goes_on_while_the_disk_is_awaited(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(1))
    holder = held(path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.put, "s", "p", 2, numbered(1, first=1))
        await until(lambda: at_work(spool))
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert at_work(spool)
        holder.close()

    assert await take_all(spool) == numbered(2)


async def test_who_makes_the_file_waits_for_another_who_does(spool: SpoolPort, path: Path) -> None:
    path.parent.mkdir()
    maker = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(maker, fcntl.LOCK_EX)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.put, "s", "p", 1, numbered(1))
        await until(lambda: at_work(spool))
        assert not path.exists()
        os.close(maker)

    assert await take_all(spool) == numbered(1)


async def test_a_cancelled_put_is_whole_or_was_not(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(1))
    holder = held(path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.put, "s", "p", 2, numbered(3, first=1))
        await until(lambda: at_work(spool))
        tasks.start_soon(spool.put, "s", "p", 5, numbered(3, first=4))
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
        holder.close()

    assert await take_all(spool) == numbered(4)
    await spool.put("s", "p", 8, numbered(1))
    assert await take_all(spool) == numbered(1)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_call_that_asyncio_cancels_leaves_nothing_open(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(1))
    holder = held(path)
    cancelled = asyncio.ensure_future(spool.put("s", "p", 2, numbered(3, first=1)))
    await until(lambda: at_work(spool))
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    next_one = asyncio.ensure_future(spool.put("s", "p", 5, numbered(1, first=4)))
    holder.close()
    await next_one

    assert await take_all(spool) == numbered(5)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_closing_waits_for_a_call_that_asyncio_cancelled(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(1))
    holder = held(path)
    cancelled = asyncio.ensure_future(spool.put("s", "p", 2, numbered(3, first=1)))
    await until(lambda: at_work(spool))
    cancelled.cancel()
    closing = asyncio.ensure_future(spool.aclose())
    await asyncio.sleep(0)
    holder.close()
    await closing

    async with aclosing(make_spool(path, LARGE)) as again:
        assert await take_all(again) == numbered(4)


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_spool_may_be_made_before_the_event_loop_runs(path: Path, loop: str) -> None:
    spool = make_spool(path, LARGE)

    async def use() -> list[bytes]:
        async with aclosing(spool):
            await spool.put("s", "p", 1, numbered(2))
            return await take_all(spool)

    assert anyio.run(use, backend=loop) == numbered(2)


# -- closing


async def test_a_closed_spool_says_so(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, numbered(1))
    await spool.aclose()
    await spool.aclose()

    for call in (
        lambda: spool.put("s", "p", 1, numbered(1)),
        lambda: spool.newest("s"),
        lambda: spool.holds("s", "p", up_to=1),
        lambda: spool.oldest("s", records=1, size=1),
        lambda: spool.remove("s", up_to=1),
        lambda: spool.count("s"),
        spool.lead,
        spool.resign,
    ):
        with pytest.raises(Closed, match="spool.sqlite is closed"):
            await call()


async def test_calls_that_wait_at_the_close_are_told(spool: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(1))
    holder = held(path)
    outcomes = []

    async def put() -> None:
        try:
            await spool.put("s", "p", 2, numbered(1))
        except Closed as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.put, "s", "p", 2, numbered(1, first=1))
        await until(lambda: at_work(spool))
        tasks.start_soon(put)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(spool.aclose)
        await anyio.wait_all_tasks_blocked()
        holder.close()

    assert len(outcomes) == 1


async def test_a_cancelled_close_closes(spool: SpoolPort, other: SpoolPort, path: Path) -> None:
    await spool.put("s", "p", 1, numbered(1))
    assert await spool.lead()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await spool.aclose()

    assert sorted(os.listdir(path.parent)) == ["spool.sqlite", "spool.sqlite.lock", "spool.sqlite.reserve"]
    assert await other.lead()


# -- who empties it


async def test_one_leads_until_it_resigns(spool: SpoolPort, other: SpoolPort) -> None:
    assert await spool.lead()
    assert await spool.lead()
    assert not await other.lead()
    await other.resign()
    assert not await other.lead()

    await spool.resign()

    assert await other.lead()
    assert not await spool.lead()


async def test_a_leader_that_closes_leads_no_more(spool: SpoolPort, other: SpoolPort) -> None:
    assert await spool.lead()
    await spool.aclose()

    assert await other.lead()


async def test_a_leader_whose_lock_was_removed_leads_only_if_nobody_else_does(
    spool: SpoolPort, other: SpoolPort, path: Path
) -> None:
    assert await spool.lead()
    shutil.rmtree(path.parent)
    assert await other.lead()

    assert not await spool.lead()
    await other.resign()
    assert await spool.lead()
    shutil.rmtree(path.parent)
    assert await spool.lead()
    assert not await other.lead()
