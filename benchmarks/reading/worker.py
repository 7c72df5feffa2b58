"""A worker in a process of its own: ``python -m benchmarks.reading.worker JOB``, which prints how many it has handled.

The job is a JSON object: ``url``, ``driver``, ``hangs`` (never end a handler), and ``subscription``, the settings.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import anyio

from benchmarks.contenders import ours
from papyra_streams import Delivery, SubscriptionConfig


async def work(job: dict[str, Any]) -> None:
    """Work until the process ends."""
    begun = 0

    async def handle(deliveries: Sequence[Delivery]) -> None:
        nonlocal begun
        begun += len(deliveries)
        os.write(sys.stdout.fileno(), b"%d\n" % begun)
        if job["hangs"]:
            await anyio.sleep_forever()

    await ours(job["driver"])(job["url"]).process(
        kind="events", cfg=SubscriptionConfig(**job["subscription"]), handler=handle
    )


if __name__ == "__main__":
    anyio.run(work, json.loads(sys.argv[1]))
