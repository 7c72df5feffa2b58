"""One worker of the demo that runs on a subscription: ``python -m papyra_streams.cli.demo_subscriber``.

The first line of its standard input is its job, a JSON object; it prints a JSON object for each delivery that it
begins, and for each that it has handled. It ends with SIGTERM, and with its input, and so with the process that
started it.
"""

import json
import logging
import os
import sys
import threading
from typing import Any

import anyio

from papyra_streams.application.subscribing.delivery import Delivery
from papyra_streams.config import RedisStreamsConfig
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.errors import StreamsError
from papyra_streams.persistence import RedisStreamsPersistence


class NotCovered(Exception):
    """The bug: an event that this worker cannot handle."""


class Clerk:
    """Handles events, or does not come to their end.

    :param hangs: never end a handler
    :param cannot_handle: the actor and the type of the events that it fails with; None for none
    """

    def __init__(self, *, hangs: bool, cannot_handle: list[str] | None) -> None:
        self._hangs = hangs
        self._cannot_handle = cannot_handle

    async def handle(self, delivery: Delivery) -> None:
        """Handle one event, and say so."""
        _say(delivery, done=False)
        if self._hangs:
            await anyio.sleep_forever()
        data = delivery.data
        if [data.get("actor_address"), data["event_type"]] == self._cannot_handle:
            raise NotCovered(f"no policy covers {data['event_type']}")
        _say(delivery, done=True)


def _say(delivery: Delivery, *, done: bool) -> None:
    said = {"id": delivery.id, "attempt": delivery.attempt, "event": delivery.data["event_type"], "done": done}
    # Without a buffer, which could not be emptied at exit where nobody listens any more.
    os.write(sys.stdout.fileno(), json.dumps(said).encode() + b"\n")


async def _work(job: dict[str, Any]) -> None:
    backend = RedisStreamsPersistence(RedisStreamsConfig(**job["settings"]))
    clerk = Clerk(hangs=job["hangs"], cannot_handle=job["cannot_handle"])
    try:
        await backend.process(kind="events", cfg=SubscriptionConfig(**job["subscription"]), handler=clerk.handle)
    finally:
        await backend.aclose()


def _end_with_the_input() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Work until somebody ends it."""
    # What it logs about its failures is not for the demo's terminal.
    logging.getLogger("papyra_streams").addHandler(logging.NullHandler())
    line = sys.stdin.readline()
    if not line:
        return
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    try:
        anyio.run(_work, json.loads(line))
    except StreamsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
