"""One worker of the demo, a process of its own: ``python -m papyra_streams.cli.demo_worker``.

Each line of its standard input is a JSON object, and so is each line of its answer: first the job, then tasks. It ends
with its input, and so with the process that started it.
"""

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread

from papyra_streams.config import RedisConsumerGroupConfig, RedisStreamsConfig
from papyra_streams.domain.groups import RedisStreamEntry
from papyra_streams.errors import StreamsError
from papyra_streams.persistence import RedisStreamsPersistence

_QUIET_MS = 100
_CLAIM_PAUSE = 0.02


class Worker:
    """Handles events for a group: it takes some, looks at each, and acknowledges it."""

    def __init__(self, backend: RedisStreamsPersistence, group: str, name: str, batch: int) -> None:
        self._backend = backend
        self._me = RedisConsumerGroupConfig(group, name, count=batch, block_ms=_QUIET_MS, ensure_group=False)
        self._taken: list[str] = []
        self._handled: dict[str, str] = {}

    def answer(self) -> dict[str, Any]:
        """Return what it was given and what it handled since the last answer."""
        answer = {"taken": self._taken, "handled": self._handled}
        self._taken, self._handled = [], {}
        return answer

    async def work(self, stalls_after: int | None) -> None:
        """Handle events until there are no more, or get stuck in the middle of a batch."""
        while batch := await self._backend.consume(kind="events", cfg=self._me):
            self._taken += [entry.id for entry in batch]
            await self._handle(batch[:stalls_after])
            if stalls_after is not None:
                return

    async def claim(self, ids: list[str], min_idle_ms: int, patience: float) -> None:
        """Take over what another worker holds, as soon as it has been idle for long enough."""
        left = set(ids)
        with anyio.move_on_after(patience):
            while left:
                claimed = await self._backend.claim(
                    "events",
                    group=self._me.group,
                    consumer=self._me.consumer,
                    min_idle_ms=min_idle_ms,
                    entry_ids=sorted(left),
                )
                self._taken += [entry.id for entry in claimed]
                left -= {entry.id for entry in claimed}
                await self._handle(claimed)
                await anyio.sleep(_CLAIM_PAUSE)

    async def _handle(self, entries: Iterable[RedisStreamEntry]) -> None:
        for entry in entries:
            self._handled[entry.id] = entry.data["event_type"]
            await self._backend.ack(kind="events", group=self._me.group, ids=[entry.id])


async def _serve() -> None:
    job = await _next_line()
    if job is None:
        return
    backend = RedisStreamsPersistence(RedisStreamsConfig(**job["settings"]))
    worker = Worker(backend, job["group"], job["name"], job["batch"])
    try:
        while task := await _next_line():
            if task.pop("do") == "work":
                await worker.work(**task)
            else:
                await worker.claim(**task)
            # Without a buffer, which could not be emptied at exit where nobody listens any more.
            os.write(sys.stdout.fileno(), json.dumps(worker.answer()).encode() + b"\n")
    finally:
        await backend.aclose()


async def _next_line() -> dict[str, Any] | None:
    line = await anyio.to_thread.run_sync(sys.stdin.readline)
    return json.loads(line) if line else None


def main() -> None:
    """Work until the input ends."""
    try:
        with suppress(BrokenPipeError):
            anyio.run(_serve)
    except StreamsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
