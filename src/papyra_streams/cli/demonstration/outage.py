"""The server is killed while actors work, and comes back; meanwhile their records wait on disk."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import anyio
from papyra import Actor, ActorSystem
from papyra.exceptions import ActorStopped
from papyra.ref import ActorRef

from papyra_streams.domain.writing import WritePolicy
from papyra_streams.errors import ConfigurationError, StreamsError
from papyra_streams.persistence import RedisStreamsPersistence

from .logs import warnings_logged
from .private import PrivateServer
from .stage import Stage
from .story import Story

_ORDERS_BEFORE = 200
_RECORDS_TO_DISK = 300
_ORDERS_AFTER = 200
# Some three hundred orders a second, so that the disk has something to take.
_BETWEEN_ORDERS = 0.003
# Somebody is watching: a server that is back is noticed sooner than by default.
_BACKOFF_LIMIT = 0.25
_ANSWERS_WITHIN = 5.0
_LONGEST_SPELL = 20.0


class StillWaiting(StreamsError):
    """What the chapter waits for has not come."""


@dataclass(frozen=True, slots=True)
class LateOrder:
    """An order for an oven that is out: a message that cannot be delivered."""

    number: int


class Till(Actor):
    """Answers with the number it is given."""

    async def receive(self, message: int) -> int:
        return message


@dataclass(slots=True)
class Spell:
    """What the actors did while the server was in one state."""

    server: str
    orders: int = 0
    slowest: float = 0.0
    to_disk: int = 0


class Evening:
    """A till that answers, and an oven that is out: each order becomes an answer and a dead letter."""

    def __init__(self, backend: RedisStreamsPersistence, till: ActorRef, oven: ActorRef) -> None:
        self.backend = backend
        self._till = till
        self._oven = oven
        self.spells: list[Spell] = []
        self.orders = 0
        self.answered = 0

    async def go_on(self, server: str, until: Callable[[Spell], bool]) -> None:
        """Take orders until something is so.

        :raises StillWaiting: if it is not so in time
        """
        spell = Spell(server)
        self.spells.append(spell)
        before = self.backend.metrics.records_spooled
        with anyio.move_on_after(_LONGEST_SPELL):
            while not until(spell):
                await self._order(spell)
                await anyio.sleep(_BETWEEN_ORDERS)
                spell.to_disk = self.backend.metrics.records_spooled - before
            return
        raise StillWaiting(f"The server was {server} for {_LONGEST_SPELL:.0f} s, and the demo could not go on.")

    async def _order(self, spell: Spell) -> None:
        self.orders += 1
        spell.orders += 1
        asked = anyio.current_time()
        with suppress(TimeoutError):
            self.answered += await self._till.ask(self.orders, timeout=_ANSWERS_WITHIN) == self.orders
        spell.slowest = max(spell.slowest, anyio.current_time() - asked)
        with suppress(ActorStopped):
            await self._oven.tell(LateOrder(self.orders))

    def is_stored(self) -> bool:
        """Tell whether the server has taken what was on disk, and every record there is."""
        metrics = self.backend.metrics
        return metrics.records_replayed == metrics.records_spooled and metrics.records_written >= self.orders


async def survive_an_outage(story: Story, stage: Stage) -> None:
    """Kill a server under an actor system, which goes on, and start it again."""
    story.chapter("The server is killed, and nothing is lost")
    with tempfile.TemporaryDirectory(prefix="papyra-demo-", ignore_cleanup_errors=True) as directory:
        server = PrivateServer(f"{directory}/server")
        try:
            if await _is_there(story, server):
                await _tell(story, stage, server, Path(directory, "spool"))
        finally:
            server.release()


async def _is_there(story: Story, server: PrivateServer) -> bool:
    try:
        await server.start()
    except ConfigurationError as error:
        story.say(f"Left out, for want of a server that may be killed: {error}")
        return False
    return True


async def _tell(story: Story, stage: Stage, server: PrivateServer, spool_dir: Path) -> None:
    story.say(
        "A bakery writes to a private server. Its till answers each order; its oven is out, so that each order is also"
        " a message that cannot be delivered, and a record. The server gets SIGKILL, stays away, and is started"
        " again. The till goes on all the while."
    )
    url = f"unix://{quote(server.endpoint.path)}"
    policy = WritePolicy(spool_dir=spool_dir, backoff_limit=_BACKOFF_LIMIT)
    backend = RedisStreamsPersistence(replace(stage.settings, url=url, write_policy=policy))
    with warnings_logged() as log:
        # The first call connects, which is no part of what is shown.
        await backend.list_events(limit=1)
        async with ActorSystem(persistence=backend) as system:
            evening = Evening(backend, system.spawn(Till), await _oven_that_is_out(system))
            await _work(story, evening, server, spool_dir)
    _show_spells(story, evening)
    _show_log(story, [record.getMessage() for record in log])
    await _check_records(story, evening)


async def _oven_that_is_out(system: ActorSystem) -> ActorRef:
    oven = system.spawn(Till)
    await system.stop(oven)
    return oven


async def _work(story: Story, evening: Evening, server: PrivateServer, spool_dir: Path) -> None:
    await evening.go_on("there", lambda spell: spell.orders >= _ORDERS_BEFORE)
    await server.kill()
    await evening.go_on("away", lambda spell: spell.to_disk >= _RECORDS_TO_DISK)
    story.claim("the server cannot be reached", holds=not await server.answers())
    story.check("spools on disk", _count_spools(spool_dir), 1)
    await server.start()
    await evening.go_on("there again", lambda spell: spell.orders >= _ORDERS_AFTER and evening.is_stored())


def _count_spools(directory: Path) -> int:
    return len(list(directory.glob("*.spool.sqlite3")))


def _show_spells(story: Story, evening: Evening) -> None:
    story.table(
        ("the server is", "orders", "slowest answer", "records to disk"),
        [(spell.server, spell.orders, f"{spell.slowest * 1000:.0f} ms", spell.to_disk) for spell in evening.spells],
    )


def _show_log(story: Story, lines: list[str]) -> None:
    story.say("The log says:")
    for line in lines:
        story.say(f"- {line}")


async def _check_records(story: Story, evening: Evening) -> None:
    metrics = evening.backend.metrics
    reader = RedisStreamsPersistence(replace(evening.backend.config, write_policy=WritePolicy()))
    try:
        letters = await reader.list_dead_letters()
    finally:
        await reader.aclose()
    numbers = [letter.payload["number"] for letter in letters]
    orders = range(1, evening.orders + 1)
    story.check("orders that were not answered", evening.orders - evening.answered, 0)
    story.check("records that went from disk to the server", metrics.records_replayed, metrics.records_spooled)
    story.check("records lost", len(set(orders) - set(numbers)), 0)
    story.check("records stored twice", len(numbers) - len(set(numbers)), 0)
    story.claim("every order is there, in the order of the calls", holds=numbers == list(orders))
    story.check("records that the backend counts as lost", metrics.write_errors, 0)
    story.check("records left on disk", evening.backend.stats().spooled, 0)
