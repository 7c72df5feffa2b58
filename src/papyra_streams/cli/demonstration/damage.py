"""Damaged entries are found, put into quarantine, and gone."""

from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode, PersistenceScanReport

from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import StreamAnomaly

from .bakery import Day
from .logs import warnings_logged
from .stage import Stage
from .story import Story
from .wire import Reply, Wire, connect

_DAMAGED = (
    b'{"kind": "event", "event_type": "ActorSta',
    b'{"kind": "event", "event_type": "\xff\xfe", "timestamp": 1.0}',
    b'{"level": "info", "message": "valid JSON, but no event"}',
)


async def quarantine_damage(story: Story, stage: Stage, day: Day) -> None:
    """Write entries that nobody can read, behind the backend's back, and let it recover."""
    story.chapter("Damaged entries go into quarantine")
    story.say(f"A stranger writes {len(_DAMAGED)} entries into the stream of events that are none.")
    quarantining = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode.QUARANTINE)
    async with stage.backend() as backend, connect(stage.endpoint) as wire:
        ids = [await _write(wire, stage, data) for data in _DAMAGED]
        story.check("events that are read all the same", len(await backend.list_events()), len(day.facts))
        found = _bad_entries(await backend.scan())
        story.table(("entry", "what the scan says"), [(bad.entry_id, bad.reason) for bad in found])
        story.check("bad entries that the scan finds", len(found), len(ids))
        story.claim("and just these", holds=sorted(bad.entry_id for bad in found) == sorted(ids))
        recovered = (await backend.recover(quarantining, full=True)).recovered
        story.table(("moved", "reason"), [(each.count, each.reason) for each in recovered])
        with warnings_logged() as log:
            story.check("bad entries that a second scan finds", len(_bad_entries(await backend.scan(full=True))), 0)
        story.check("warnings about the quarantine, which somebody should look at", len(log), 1)
        kept = await _quarantined(wire, stage)
        story.check("entries in quarantine", len(kept), len(ids))
        whole = dict(zip(ids, _DAMAGED, strict=True))
        story.claim("each with its id and bytes as they were", holds=kept == whole)
        story.check(
            "events left in the stream", await wire("XLEN", stage.keys.stream(Partition(EVENTS))), len(day.facts)
        )


async def _write(wire: Wire, stage: Stage, data: bytes) -> str:
    reply = await wire("XADD", stage.keys.stream(Partition(EVENTS)), "*", "data", data)
    return reply.decode() if isinstance(reply, bytes) else ""


def _bad_entries(report: PersistenceScanReport) -> list[StreamAnomaly]:
    return [anomaly for anomaly in report.anomalies if isinstance(anomaly, StreamAnomaly)]


async def _quarantined(wire: Wire, stage: Stage) -> dict[str, bytes]:
    entries = await wire("XRANGE", stage.keys.quarantine(Partition(EVENTS)), "-", "+")
    return dict(_original(entry) for entry in entries) if isinstance(entries, list) else {}


def _original(entry: Reply) -> tuple[str, bytes]:
    match entry:
        case [_, [*words]]:
            texts = [word for word in words if isinstance(word, bytes)]
            fields = dict(zip(texts[::2], texts[1::2], strict=True))
            return fields.get(b"id", b"").decode(), fields.get(b"field:data", b"")
    return "", b""
