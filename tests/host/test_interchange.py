"""Papyra's own Redis backend and this one read what the other wrote, key for key and field for field."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio
from papyra.persistence.backends import redis as reference
from papyra.persistence.models import PersistedAudit, PersistedDeadLetter, PersistedEvent

from papyra_streams import RedisConsumerGroupConfig, RedisStreamsConfig, RedisStreamsPersistence

pytestmark = pytest.mark.asyncio

EVENT = PersistedEvent(
    "orders", "orders:1", "ActorCrashed", {"reason": "größer", "n": [1, 2.5, None]}, 1_750_000_000.25
)
AUDIT = PersistedAudit("orders", 1.5, 3, 2, 1, 0, 1, (), (), 4)
DEAD_LETTER = PersistedDeadLetter("orders", None, "Path", {"where": "x", "huge": 10**30}, 2.5)


@pytest_asyncio.fixture
async def theirs(url: str, prefix: str) -> AsyncIterator[reference.RedisStreamsPersistence]:
    """Return Papyra's own backend."""
    config = reference.RedisStreamsConfig(url=url, prefix=prefix, system_id="orders")
    backend = reference.RedisStreamsPersistence(config)
    yield backend
    await backend.aclose()


@pytest_asyncio.fixture
async def ours(url: str, prefix: str, driver: str) -> AsyncIterator[RedisStreamsPersistence]:
    """Return this backend on the same keys."""
    config = RedisStreamsConfig(url=url, prefix=prefix, system_id="orders", driver=driver)
    backend = RedisStreamsPersistence(config)
    yield backend
    await backend.aclose()


async def test_ours_reads_what_theirs_wrote(
    ours: RedisStreamsPersistence, theirs: reference.RedisStreamsPersistence
) -> None:
    await _write(theirs)
    assert await ours.list_events() == (EVENT,)
    assert await ours.list_audits() == (AUDIT,)
    assert await ours.list_dead_letters() == (DEAD_LETTER,)
    assert not (await ours.scan()).has_anomalies


async def test_theirs_reads_what_ours_wrote(
    ours: RedisStreamsPersistence, theirs: reference.RedisStreamsPersistence
) -> None:
    await _write(ours)
    assert await theirs.list_events() == (EVENT,)
    # Papyra's own reader leaves the names in a list, where its model says a tuple.
    (audit,) = await theirs.list_audits()
    assert (audit.total_actors, list(audit.registry_orphans)) == (3, [])
    assert await theirs.list_dead_letters() == (DEAD_LETTER,)
    assert not (await theirs.scan()).has_anomalies


async def test_both_write_the_same_entry(
    ours: RedisStreamsPersistence, theirs: reference.RedisStreamsPersistence, url: str, prefix: str
) -> None:
    for backend in (theirs, ours):
        await _write(backend)
    async with redis.asyncio.Redis.from_url(url) as client:
        for kind in ("events", "audits", "dead_letters"):
            entries: Any = await client.xrange(f"{prefix}:orders:{kind}")
            first, second = (fields for _id, fields in entries)
            assert list(first) == list(second) == [b"data"]
            assert list(json.loads(first[b"data"]).items()) == list(json.loads(second[b"data"]).items())


async def test_what_theirs_wrote_as_nan_stays_readable(
    ours: RedisStreamsPersistence, theirs: reference.RedisStreamsPersistence
) -> None:
    await theirs.record_event(PersistedEvent("orders", "orders:1", "Measured", {"ratio": float("nan")}, 1.0))
    (event,) = await ours.list_events()
    assert str(event.payload["ratio"]) == "nan"


async def test_a_path_is_stored_alike(ours: RedisStreamsPersistence, theirs: reference.RedisStreamsPersistence) -> None:
    for backend in (theirs, ours):
        await backend.record_dead_letter(PersistedDeadLetter("orders", "orders:1", "Path", Path("/srv/x"), 1.0))
    assert [letter.payload for letter in await ours.list_dead_letters()] == ["/srv/x", "/srv/x"]


async def test_a_group_of_theirs_is_continued_by_ours(
    ours: RedisStreamsPersistence, theirs: reference.RedisStreamsPersistence
) -> None:
    await _write(theirs)
    given = await theirs.consume(kind="events", cfg=reference.RedisConsumerGroupConfig("workers", "worker-1"))
    (again,) = await ours.consume(kind="events", cfg=RedisConsumerGroupConfig("workers", "worker-1"), read_id="0")
    assert (again.id, again.data) == (given[0].id, given[0].data)
    their_summary = await theirs.pending_summary(kind="events", group="workers")
    our_summary = await ours.pending_summary(kind="events", group="workers")
    assert our_summary["raw"] == their_summary["raw"]
    assert await theirs.ack(kind="events", group="workers", ids=[again.id]) == 1


async def _write(backend: RedisStreamsPersistence | reference.RedisStreamsPersistence) -> None:
    await backend.record_event(EVENT)
    await backend.record_audit(AUDIT)
    await backend.record_dead_letter(DEAD_LETTER)
