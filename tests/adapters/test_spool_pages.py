"""Pages of a spool: the oldest records of a stream, a batch for each producer, within bounds, removed as one."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from papyra_streams.ports.spool import SpoolPort
from papyra_streams_adapters.spool import spool as make_spool

from .spools import LARGE, batches_of, numbered, payloads_of, take

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SpoolPort]:
    async with aclosing(make_spool(tmp_path / "spool.sqlite", LARGE)) as made:
        yield made


async def put_in_turns(spool: SpoolPort, turns: int) -> None:
    """Put one record of ``q`` and then one of ``p``, from number 1 on, so many times."""
    for number in range(1, turns + 1):
        await spool.put("s", "q", number, [b"q%d" % number])
        await spool.put("s", "p", number, [b"p%d" % number])


# -- batches


async def test_puts_that_follow_each_other_come_out_together(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, numbered(2))
    await spool.put("other stream", "p", 50, numbered(1))
    await spool.put("s", "p", 3, numbered(2, first=2))

    assert batches_of(await take(spool)) == [("p", 1, numbered(4))]


async def test_producers_that_write_in_turns_give_one_batch_each(spool: SpoolPort) -> None:
    await put_in_turns(spool, 3)

    page = await take(spool)

    assert batches_of(page) == [("q", 1, [b"q1", b"q2", b"q3"]), ("p", 1, [b"p1", b"p2", b"p3"])]
    assert page.last_position == await spool.newest("s")


@pytest.mark.parametrize("first", [4, 2, 1], ids=["a gap", "one put twice", "all put twice"])
async def test_a_batch_ends_where_the_numbers_do_not_go_on(spool: SpoolPort, first: int) -> None:
    await spool.put("s", "p", 1, numbered(2))
    await spool.put("s", "p", first, numbered(2, first=2))

    assert batches_of(await take(spool)) == [("p", 1, numbered(2)), ("p", first, numbered(2, first=2))]


@pytest.mark.parametrize("first", [4, 2, 1], ids=["a gap", "one put twice", "all put twice"])
async def test_where_one_producers_numbers_do_not_go_on_those_of_others_may(spool: SpoolPort, first: int) -> None:
    await put_in_turns(spool, 2)
    await spool.put("s", "p", first, [b"again"])
    await spool.put("s", "q", 3, [b"q3"])
    await spool.put("s", "p", first + 1, [b"and on"])

    assert batches_of(await take(spool)) == [
        ("q", 1, [b"q1", b"q2", b"q3"]),
        ("p", 1, [b"p1", b"p2"]),
        ("p", first, [b"again", b"and on"]),
    ]


# -- bounds


@pytest.mark.parametrize(
    ("records", "size", "expected"),
    [(3, 1000, 3), (1, 1000, 1), (9, 1000, 6), (9, 29, 2), (9, 30, 3), (2, 30, 2), (9, 1, 1), (9, 0, 1)],
)
@pytest.mark.parametrize("producers", ["pppppp", "pqpqpq"])
async def test_a_page_is_bounded(spool: SpoolPort, producers: str, records: int, size: int, expected: int) -> None:
    for number, producer in enumerate(producers):
        await spool.put("s", producer, number, [bytes(10)])

    assert payloads_of(await take(spool, records=records, size=size)) == [bytes(10)] * expected


async def test_what_comes_after_a_record_too_large_for_the_page_waits_for_it(spool: SpoolPort) -> None:
    await spool.put("s", "p", 1, [b"small"])
    await spool.put("s", "q", 1, [bytes(100)])
    await spool.put("s", "p", 2, [b"small"])

    page = await take(spool, size=50)
    assert batches_of(page) == [("p", 1, [b"small"])]
    await spool.remove("s", up_to=page.last_position)
    page = await take(spool, size=50)
    assert batches_of(page) == [("q", 1, [bytes(100)])]


async def test_pages_go_on_where_the_one_before_ended(spool: SpoolPort) -> None:
    await put_in_turns(spool, 4)

    pages = []
    for _ in range(3):
        page = await take(spool, records=3)
        pages.append(batches_of(page))
        await spool.remove("s", up_to=page.last_position)

    assert pages == [
        [("q", 1, [b"q1", b"q2"]), ("p", 1, [b"p1"])],
        [("p", 2, [b"p2", b"p3"]), ("q", 3, [b"q3"])],
        [("q", 4, [b"q4"]), ("p", 4, [b"p4"])],
    ]
    assert await spool.count("s") == 0


# -- removal


async def test_removing_a_page_removes_the_records_of_all_its_producers(spool: SpoolPort) -> None:
    await put_in_turns(spool, 3)
    await spool.put("t", "p", 1, numbered(1))

    page = await take(spool)
    await spool.remove("s", up_to=page.last_position)

    assert (await spool.count("s"), await spool.newest("s")) == (0, 0)
    assert not await spool.holds("s", "p", up_to=page.last_position)
    assert not await spool.holds("s", "q", up_to=page.last_position)
    assert await spool.count("t") == 1


async def test_removing_a_page_leaves_what_was_put_since(spool: SpoolPort) -> None:
    await put_in_turns(spool, 2)
    page = await take(spool)
    await spool.put("s", "p", 3, [b"p3"])
    await spool.put("s", "q", 3, [b"q3"])

    await spool.remove("s", up_to=page.last_position)

    assert batches_of(await take(spool)) == [("p", 3, [b"p3"]), ("q", 3, [b"q3"])]
    assert await spool.count("s") == 2
