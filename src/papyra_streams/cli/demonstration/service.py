"""Workers of a service die, stop and fail, and every event is handled all the same."""

from collections import Counter
from collections.abc import Sequence

import anyio

from papyra_streams.domain.groups import RELEASED, QuarantinedEntry
from papyra_streams.persistence import RedisStreamsPersistence

from .bakery import Day
from .crew import WorkerFailed
from .office import Clerk, Report, at_work
from .stage import SUBSCRIBED, Stage
from .story import Story

_SLOTS = 10
_ATTEMPTS = 3
# Somebody is watching: by default it is a minute.
_CLAIM_IDLE = 1.0
_SETTINGS: dict[str, object] = {
    "group": SUBSCRIBED,
    "concurrency": _SLOTS,
    "claim_idle": _CLAIM_IDLE,
    "max_deliveries": _ATTEMPTS,
    "backoff": 0.05,
    "grace": 0.1,
}
_QUARANTINED_WITHIN = 15.0
_LOOK_EVERY = 0.05


async def keep_a_service_going(story: Story, stage: Stage, day: Day) -> None:
    """Let workers on a subscription be killed, stopped, and fail with one event."""
    story.chapter("Workers of a service die, and one event is poison")
    story.say(
        f"The insurance handles each event too: workers run backend.process() in the group '{SUBSCRIBED}'. Carla and"
        f" Emil take {_SLOTS} events each, and hang. Carla gets SIGKILL, Emil SIGTERM. Dora comes, and has a bug: she"
        " fails when the trainee's oven has stopped."
    )
    async with stage.backend() as backend:
        carla, emil = await _lose_two(story, stage, backend)
        dora, given_up = await _go_on(story, stage, backend, day)
        _check_succession(story, carla, emil, dora)
        flora = await _mend(story, stage, backend, given_up)
        _tell_who_did_what(story, [carla, emil, dora, flora])
        _check_handled(story, day, [*_done(dora), *_done(flora)])
        status = await backend.group_status(kind="events", group=SUBSCRIBED)
        story.check("events the group has yet to handle", status.pending + (status.lag or 0), 0)


async def _lose_two(story: Story, stage: Stage, backend: RedisStreamsPersistence) -> tuple[Clerk, Clerk]:
    async with (
        at_work(stage, "carla", _SETTINGS, hangs=True) as carla,
        at_work(stage, "emil", _SETTINGS, hangs=True) as emil,
    ):
        await carla.until(lambda reports: len(reports) == _SLOTS)
        await emil.until(lambda reports: len(reports) == _SLOTS)
        emil.end = f"status {await emil.terminate()}"
        carla.end = f"signal {-await carla.kill()}"
    pending = await backend.pending_summary(kind="events", group=SUBSCRIBED)
    story.check("events in dead Carla's hands", pending.consumers.get(carla.name, 0), _SLOTS)
    story.check("events in stopped Emil's hands", pending.consumers.get(emil.name, 0), 0)
    story.check("events that anybody may take at once", pending.consumers.get(RELEASED, 0), _SLOTS)
    return carla, emil


async def _go_on(
    story: Story, stage: Stage, backend: RedisStreamsPersistence, day: Day
) -> tuple[Clerk, Sequence[QuarantinedEntry]]:
    # All that is in the stream, should it be more than the system says.
    events = (await backend.group_status(kind="events", group=SUBSCRIBED)).length
    poison = next(fact for fact in day.facts if fact.event == "ActorStopped")
    async with at_work(stage, "dora", _SETTINGS, cannot_handle=[poison.actor, poison.event]) as dora:
        await dora.until(lambda reports: sum(report.done for report in reports) == events - 1)
        given_up = await _quarantined(backend)
        dora.end = f"status {await dora.terminate()}"
    story.check("events in quarantine", len(given_up), 1)
    for entry in given_up:
        story.say(f"{entry.id}: {entry.reason}; {entry.error}")
        story.check("deliveries before it was given up", entry.attempts, _ATTEMPTS)
    return dora, given_up


async def _quarantined(backend: RedisStreamsPersistence) -> Sequence[QuarantinedEntry]:
    with anyio.move_on_after(_QUARANTINED_WITHIN):
        while True:
            if found := await backend.quarantine_list(kind="events"):
                return found
            await anyio.sleep(_LOOK_EVERY)
    raise WorkerFailed("The event that nobody can handle does not come to the quarantine.")


def _check_succession(story: Story, carla: Clerk, emil: Clerk, dora: Clerk) -> None:
    killed, stopped = ({report.id for report in clerk.reports} for clerk in (carla, emil))
    first: dict[str, int] = {}
    for report in dora.reports:
        first.setdefault(report.id, report.attempt)
    story.check("of Carla's events, Dora is given", len(killed & first.keys()), _SLOTS)
    story.check("of Emil's events, Dora is given", len(stopped & first.keys()), _SLOTS)
    story.claim("Carla's count as their second attempt", holds={first.get(each) for each in killed} == {2})
    story.claim(
        "Emil's as their first, like the new ones", holds={first[each] for each in first.keys() - killed} == {1}
    )


async def _mend(
    story: Story, stage: Stage, backend: RedisStreamsPersistence, given_up: Sequence[QuarantinedEntry]
) -> Clerk:
    story.say("The bug is mended, the event replayed, and Flora has the new program.")
    ids = [entry.id for entry in given_up]
    replayed = await backend.quarantine_replay(kind="events", ids=ids)
    story.check("events replayed, pending for the group again", len(replayed.pending), len(ids))
    again = await backend.quarantine_replay(kind="events", ids=ids)
    story.check("events that a second replay finds", len(again.pending) + len(again.appended), 0)
    async with at_work(stage, "flora", _SETTINGS) as flora:
        await flora.until(lambda reports: any(report.done for report in reports))
        flora.end = f"status {await flora.terminate()}"
    story.check("events left in quarantine", len(await backend.quarantine_list(kind="events")), 0)
    return flora


def _tell_who_did_what(story: Story, clerks: Sequence[Clerk]) -> None:
    story.table(
        ("worker", "was given", "handled", "end"),
        [(each.name, len({report.id for report in each.reports}), len(_done(each)), each.end) for each in clerks],
    )


def _done(clerk: Clerk) -> list[Report]:
    return [report for report in clerk.reports if report.done]


def _check_handled(story: Story, day: Day, handled: Sequence[Report]) -> None:
    story.check("events the insurance has handled", len(handled), len(day.facts))
    story.check("events it has handled twice", len(handled) - len({report.id for report in handled}), 0)
    types = Counter(report.event for report in handled)
    story.claim("of each type as many as the system says", holds=types == day.count())
