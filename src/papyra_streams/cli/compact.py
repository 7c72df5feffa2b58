"""``papyra-streams compact``: what retention no longer shows goes."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.groups import RELEASED
from papyra_streams.domain.reports import HeldBack, StreamsCompactionReport
from papyra_streams.persistence import RedisStreamsPersistence

from .printing import as_json, one_line, say, table
from .running import on_backend_with_retention


@on_backend_with_retention
async def compact(
    backend: RedisStreamsPersistence,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> int:
    """Remove what retention no longer shows, except what a consumer group still needs.

    Exit status: 0 if it is done, also where a group holds something back; 2 if it could not be done.
    """
    report = await backend.compact(dry_run=dry_run)
    if json:
        as_json(asdict(report) | {"removed_records": report.removed_records})
        return 0
    if backend.retention in {None, RetentionPolicy()}:
        say("No retention is set, so nothing is old. Set a retention_policy, or give --url and --max-records.")
    tell_compaction(report)
    return 0


def tell_compaction(report: StreamsCompactionReport) -> None:
    """Print what went from each stream, and why not more."""
    verb = "would go" if report.dry_run else "removed"
    rows = [
        (
            *(each.stream, each.before_records, each.after_records, each.removed_records),
            each.before_bytes,
            each.after_bytes,
        )
        for each in report.streams
    ]
    table(("stream", "records", "after", verb, "bytes", "after"), rows)
    for each in report.streams:
        if each.held_back:
            say(one_line(_obstacle(each.held_back)))
        if each.abandoned:
            groups = ", ".join(map(repr, each.abandoned))
            say(one_line(f"{each.stream}: not held back by {groups}, which nobody was heard of in"))


def _obstacle(held: HeldBack) -> str:
    if held.consumer is None:
        holder = "given to nobody"
    else:
        holder = "let go of" if held.consumer == RELEASED else f"given to {held.consumer!r}"
    return (
        f"{held.stream}: held back by the group {held.group!r}, which has yet to acknowledge {held.needs}"
        f" ({holder}, {timedelta(seconds=round(held.age))} old)"
    )
