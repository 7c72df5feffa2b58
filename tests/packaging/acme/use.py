"""Uses the driver ``acme`` through the backend, on the event loop that is named."""

import sys

import anyio
from papyra.persistence.models import PersistedEvent

from papyra_streams import RedisConsumerGroupConfig, RedisStreamsConfig, RedisStreamsPersistence


async def use() -> None:
    """Record, list, consume, acknowledge, scan, compact and close."""
    backend = RedisStreamsPersistence(RedisStreamsConfig("embedded://", driver="acme"))
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(backend.record_event, PersistedEvent("local", "local:1", "x", {"n": number}, 1.7e9))
    listed = await backend.list_events(limit=3)
    given = await backend.consume(kind="events", cfg=RedisConsumerGroupConfig("billing", "one", block_ms=0))
    acknowledged = await backend.ack(kind="events", group="billing", ids=[entry.id for entry in given])
    bad = (await backend.scan()).anomalies
    left = (await backend.compact()).after_records
    await backend.aclose()
    print(len(listed), len(given), acknowledged, len(bad), left, backend.metrics.write_errors)  # noqa: T201


anyio.run(use, backend=sys.argv[1])
