"""First a real actor system has a bad day; then what it said about it is read back."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from papyra import Actor, ActorSystem
from papyra.audit import AuditReport
from papyra.events import ActorStopped as ActorStoppedEvent
from papyra.exceptions import ActorStopped
from papyra.persistence.models import PersistedAudit
from papyra.persistence.startup import PersistenceStartupConfig, PersistenceStartupMode
from papyra.ref import ActorRef
from papyra.supervision import Strategy, SupervisionPolicy

from .stage import Stage
from .story import Story

_OVENS = 9
_FAULTY_OVENS = 4
_LATE_ORDERS = 3
_STOPPED_WITHIN = 5.0

# The trainee's oven crashes twice, and is started again once.
EVENTS = {"ActorStarted": 10, "ActorCrashed": 6, "ActorRestarted": 5, "ActorStopped": 10}


@dataclass(frozen=True, slots=True)
class Order:
    """So many loaves."""

    number: int
    loaves: int


class Oven(Actor):
    """Bakes what is ordered; less than nothing cannot be baked."""

    async def receive(self, message: Order) -> int:
        if message.loaves < 0:
            raise ValueError(f"order {message.number} is for {message.loaves} loaves")
        return message.loaves


@dataclass(frozen=True, slots=True)
class Fact:
    """One event, in the form that the system and its records have in common."""

    actor: str
    event: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What the actor system itself says of the day."""

    facts: list[Fact]
    lost: list[Order]
    audit: AuditReport

    def count(self) -> Counter[str]:
        """Count the events of each type."""
        return Counter(fact.event for fact in self.facts)


async def work_a_day(story: Story, stage: Stage) -> Day:
    """Let actors start, crash, restart, stop and lose messages."""
    story.chapter("An actor system has a bad day")
    story.say(
        f"A bakery with {_OVENS} ovens and a trainee's starts. {_FAULTY_OVENS} ovens get an order for -1 loaves,"
        " crash, and are restarted by their supervision. The trainee's oven may restart once only; its second"
        f" crash stops it, and {_LATE_ORDERS} orders come too late. Then an audit, and everyone stops."
    )
    async with stage.backend() as backend:
        system = ActorSystem(
            persistence=backend,
            persistence_startup=PersistenceStartupConfig(mode=PersistenceStartupMode.FAIL_ON_ANOMALY),
        )
        async with system:
            audit = await _bake(system)
    day = Day(facts=_facts(system), lost=[letter.message for letter in system.dead_letters.messages], audit=audit)
    story.check("events in the system", len(day.facts), sum(EVENTS.values()))
    story.check("messages it could not deliver", len(day.lost), _LATE_ORDERS)
    story.check("actors alive at the audit", day.audit.alive_actors, _OVENS)
    story.check("records that could not be written", backend.metrics.write_errors, 0)
    return day


async def _bake(system: ActorSystem) -> AuditReport:
    ovens = [_light(system, f"oven-{number}", restarts=3) for number in range(1, _OVENS + 1)]
    trainee = _light(system, "trainee", restarts=1)
    for number, oven in enumerate(ovens[:_FAULTY_OVENS] + [trainee] * 2, start=1):
        # Papyra hands the crash to whoever asked, once supervision has dealt with it.
        with suppress(ValueError):
            await oven.ask(Order(number, -1))
    for number in range(1, _LATE_ORDERS + 1):
        with suppress(ActorStopped):
            await trainee.tell(Order(100 + number, number))
    for number, oven in enumerate(ovens, start=1):
        await oven.ask(Order(200 + number, number))
    audit = system.audit()
    for oven in ovens:
        await system.stop(oven)
    await _all_stopped(system)
    return audit


def _light(system: ActorSystem, name: str, *, restarts: int) -> ActorRef:
    return system.spawn(Oven, name=name, policy=SupervisionPolicy(Strategy.RESTART, max_restarts=restarts))


async def _all_stopped(system: ActorSystem) -> None:
    # Papyra 0.3.0 does not persist the events that actors emit while the system itself closes.
    with suppress(TimeoutError):
        await system.wait_for_event(lambda _: _stopped(system) == EVENTS["ActorStopped"], timeout=_STOPPED_WITHIN)


def _stopped(system: ActorSystem) -> int:
    return sum(isinstance(event, ActorStoppedEvent) for event in system.events())


def _facts(system: ActorSystem) -> list[Fact]:
    return [
        Fact(f"{event.address['system']}:{event.address['actor_id']}", type(event).__name__, event.payload)
        for event in system.events()
    ]


async def read_back(story: Story, stage: Stage, day: Day) -> None:
    """Compare the records with what the system said."""
    story.chapter("The records are read back")
    story.say("A second backend reads the streams, as another process would.")
    async with stage.backend() as backend:
        stored = await backend.list_events()
        newest = await backend.list_events(limit=3)
        audits = await backend.list_audits()
        lost = await backend.list_dead_letters()
    facts = [Fact(str(event.actor_address), event.event_type, event.payload) for event in stored]
    said, written = day.count(), Counter(fact.event for fact in facts)
    story.table(
        ("event", "the script", "the system", "the stream"),
        [(event, EVENTS.get(event, 0), said[event], written[event]) for event in EVENTS | said | written],
    )
    story.check("events stored", len(stored), len(day.facts))
    story.claim("of each type as many as the system says", holds=dict(written) == dict(said) == EVENTS)
    story.claim("the same actors, payloads and order", holds=facts == day.facts)
    story.claim("list_events(limit=3) gives the newest 3", holds=newest == stored[-3:])
    story.check("dead letters stored", len(lost), len(day.lost))
    story.claim("with the orders that were lost", holds=[letter.payload for letter in lost] == _rows(day.lost))
    story.check("audits stored", len(audits), 1)
    story.claim("with the system's own numbers", holds=all(_agrees(audit, day.audit) for audit in audits))


def _rows(orders: list[Order]) -> list[dict[str, int]]:
    return [asdict(order) for order in orders]


def _agrees(stored: PersistedAudit, report: AuditReport) -> bool:
    names = ("total_actors", "alive_actors", "stopping_actors", "restarting_actors", "registry_size")
    return all(getattr(stored, name) == getattr(report, name) for name in (*names, "dead_letters_count"))
