"""Our backend, over the streams that are maintained."""

import gc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from papyra.persistence.backends.retention import RetentionPolicy

from benchmarks.contenders import PREFIX
from benchmarks.events import SYSTEM
from benchmarks.servers import RunningServer
from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence


@asynccontextmanager
async def connected(
    server: RunningServer,
    driver: str,
    *,
    prefix: str = PREFIX,
    max_age: float | None = None,
    approx_trim: bool = True,
) -> AsyncIterator[RedisStreamsPersistence]:
    """Give a backend that has connected, its other settings as they are by default, with all garbage collected."""
    config = RedisStreamsConfig(url=server.url, prefix=prefix, system_id=SYSTEM, driver=driver, approx_trim=approx_trim)
    policy = None if max_age is None else RetentionPolicy(max_age_seconds=max_age)
    async with aclosing(RedisStreamsPersistence(config, retention_policy=policy)) as backend:
        await backend.list_events(limit=1)
        gc.collect()
        yield backend
