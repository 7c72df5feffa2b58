"""Retention becomes physical, but not before a group has got what it needs."""

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.config import RedisConsumerGroupConfig
from papyra_streams.domain.groups import RedisStreamEntry
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import StreamsCompactionReport
from papyra_streams.persistence import RedisStreamsPersistence

from .bakery import Day
from .logs import warnings_logged
from .stage import Stage
from .story import Story
from .wire import connect

_GROUP = "archive"
_KEPT = 10


async def compact(story: Story, stage: Stage, day: Day) -> None:
    """Compact while a group still needs the old events, and again when it does not."""
    story.chapter("Compaction waits for a slow group")
    story.say(
        f"From now on the newest {_KEPT} events are enough. But the group '{_GROUP}' was given all of them and has"
        " acknowledged none. A first compaction must leave them; a second one, after the acknowledgement, must not."
    )
    async with stage.backend(RetentionPolicy(max_records=_KEPT)) as backend:
        given = await _give_all(backend, len(day.facts))
        story.check(f"events given to '{_GROUP}'", len(given), len(day.facts))
        shown = await backend.list_events()
        with warnings_logged() as warned:
            early = await backend.compact()
        story.check("records removed by the first compaction", early.removed_records, 0)
        story.check("warnings about it in the log", len(warned), 1)
        needed = (stage.keys.stream(Partition(EVENTS)), _GROUP, given[0].id if given else "", "archivist")
        story.check("held back by", _groups(early), _GROUP)
        story.claim(
            "which needs its oldest pending event",
            holds=[(held.stream, held.group, held.needs, held.consumer) for held in early.held_back] == [needed],
        )
        foreseen = await backend.compact(dry_run=True)
        story.check("records that would go, says a dry run meanwhile", foreseen.removed_records, 0)
        acknowledged = await backend.ack(kind="events", group=_GROUP, ids=[entry.id for entry in given])
        story.check(f"events '{_GROUP}' acknowledges", acknowledged, len(day.facts))
        foreseen = await backend.compact(dry_run=True)
        late = await backend.compact()
        story.say(f"With audits and dead letters: {late.before_records} records before, {late.after_records} after.")
        story.check("records removed by the second compaction", late.removed_records, len(day.facts) - _KEPT)
        story.check("records that a dry run had said would go", foreseen.removed_records, late.removed_records)
        story.check("held back by", _groups(late), "nobody")
        story.claim("reads show the same as before", holds=await backend.list_events() == shown)
    async with connect(stage.endpoint) as wire:
        story.check("events left in the stream", await wire("XLEN", stage.keys.stream(Partition(EVENTS))), _KEPT)


async def _give_all(backend: RedisStreamsPersistence, expected: int) -> list[RedisStreamEntry]:
    # One more than there should be, so that a surplus shows.
    archivist = RedisConsumerGroupConfig(_GROUP, "archivist", count=expected + 1, block_ms=0)
    return list(await backend.consume(kind="events", cfg=archivist))


def _groups(report: StreamsCompactionReport) -> str:
    return ", ".join(obstacle.group for obstacle in report.held_back) or "nobody"
