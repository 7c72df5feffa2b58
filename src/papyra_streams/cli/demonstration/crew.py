"""Two workers share a consumer group; one of them is killed in the middle of its work."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from papyra_streams.errors import StreamsError
from papyra_streams.persistence import RedisStreamsPersistence

from .bakery import Day
from .stage import Stage
from .story import Story

_PROGRAM = "papyra_streams.cli.demo_worker"
_GROUP = "bookkeeping"
_BATCH = 10
_HANDLED_BEFORE_THE_END = 4
_HELD = _BATCH - _HANDLED_BEFORE_THE_END
_IDLE_MS = 300
_HOUR_MS = 3_600_000

_CLAIM_SECONDS = 5.0
_ANSWER_SECONDS = 15.0
_LONGEST_ANSWER = 1024 * 1024


class WorkerFailed(StreamsError):
    """A worker ended, or did not answer, although nobody had killed it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The ids of the entries a worker was given, and the type of each event it handled, by id."""

    taken: list[str]
    handled: dict[str, str]


class Colleague:
    """A worker, seen from the process that started it."""

    def __init__(self, name: str, process: Process) -> None:
        assert process.stdin  # noqa: S101 -- both are pipes, see below
        assert process.stdout  # noqa: S101
        self.name = name
        self._process = process
        self._tasks = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def tell(self, message: dict[str, Any]) -> None:
        """Send it a line."""
        try:
            await self._tasks.send(json.dumps(message).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerFailed(f"The worker {self.name} ended before its work was done.") from error

    async def ask(self, task: str, **details: object) -> Answer:
        """Give it a task, and wait until it is done.

        :raises WorkerFailed: if it ends, or takes too long
        """
        await self.tell({"do": task, **details})
        try:
            with anyio.fail_after(_ANSWER_SECONDS):
                line = await self._answers.receive_until(b"\n", _LONGEST_ANSWER)
        except (anyio.EndOfStream, anyio.IncompleteRead) as error:
            raise WorkerFailed(f"The worker {self.name} ended before its work was done.") from error
        except TimeoutError as error:
            raise WorkerFailed(f"The worker {self.name} does not answer.") from error
        return Answer(**json.loads(line))

    async def kill(self) -> int:
        """End it at once, without a chance to tidy up; return its exit status."""
        self._process.kill()
        return await self._process.wait()


@asynccontextmanager
async def _hired(stage: Stage, name: str) -> AsyncIterator[Colleague]:
    # -P: no module of the user's working directory stands in for one of ours.
    command = [sys.executable, "-P", "-m", _PROGRAM]
    # Ctrl-C in the terminal is for the demo alone, hence the session.
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, start_new_session=True
    )
    # Leaving closes its input, with which it ends; if anything goes wrong it is killed.
    async with process:
        colleague = Colleague(name, process)
        # The URL may hold a password, which other users would see among the arguments.
        names = ("url", "prefix", "system_id", "driver")
        settings = {name: getattr(stage.settings, name) for name in names}
        await colleague.tell({"settings": settings, "group": _GROUP, "name": name, "batch": _BATCH})
        yield colleague


async def share_the_work(story: Story, stage: Stage, day: Day) -> None:
    """Let one worker die with unacknowledged events, and the other one finish them."""
    story.chapter("Two workers share the events, and one is killed")
    story.say(
        f"Two processes read the events as consumers of the group '{_GROUP}'. Adam takes {_BATCH}, acknowledges"
        f" {_HANDLED_BEFORE_THE_END} and hangs. Berta handles all that nobody was given. Adam gets SIGKILL."
        f" Once his events have been idle for {_IDLE_MS} ms, Berta claims them."
    )
    async with stage.backend() as backend, _hired(stage, "adam") as adam, _hired(stage, "berta") as berta:
        await backend.ensure_consumer_group(kind="events", group=_GROUP)
        his = await adam.ask("work", stalls_after=_HANDLED_BEFORE_THE_END)
        hers = await berta.ask("work", stalls_after=None)
        story.check("signal that ends Adam", -await adam.kill(), signal.SIGKILL.value)
        held = [entry_id for entry_id in his.taken if entry_id not in his.handled]
        await _check_pending(story, backend, {"adam": _HELD})
        early = await berta.ask("claim", ids=held, min_idle_ms=_HOUR_MS, patience=0.1)
        story.check("of these claimed as idle for an hour", len(early.taken), 0)
        claimed = await berta.ask("claim", ids=held, min_idle_ms=_IDLE_MS, patience=_CLAIM_SECONDS)
        story.check(f"of these claimed as idle for {_IDLE_MS} ms", len(claimed.taken), _HELD)
        _tell_who_did_what(story, his, hers, claimed)
        _check_handled(story, day, [his, hers, claimed])
        await _check_pending(story, backend, {})


async def _check_pending(story: Story, backend: RedisStreamsPersistence, expected: dict[str, int]) -> None:
    pending = await backend.pending_summary(kind="events", group=_GROUP)
    story.check("events pending", pending.count, sum(expected.values()))
    story.check("held by", _holders(pending.consumers), _holders(expected))


def _holders(pending: Mapping[str, int]) -> str:
    return ", ".join(sorted(pending)) or "nobody"


def _tell_who_did_what(story: Story, his: Answer, hers: Answer, claimed: Answer) -> None:
    story.table(
        ("worker", "was given", "claimed", "acknowledged", "end"),
        [
            ("adam", len(his.taken), 0, len(his.handled), "killed"),
            ("berta", len(hers.taken), len(claimed.taken), len(hers.handled) + len(claimed.handled), "all done"),
        ],
    )


def _check_handled(story: Story, day: Day, answers: list[Answer]) -> None:
    handled = [entry_id for answer in answers for entry_id in answer.handled]
    types = Counter(event for answer in answers for event in answer.handled.values())
    story.check("events handled", len(handled), len(day.facts))
    story.check("events handled twice", len(handled) - len(set(handled)), 0)
    story.claim("of each type as many as the system says", holds=types == day.count())
