"""``papyra-streams recover``: what a scan finds is taken out of the way."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams.domain.reports import RebuildOutcome, StreamsRecoveryReport
from papyra_streams.persistence import RedisStreamsPersistence

from .compact import tell_compaction
from .printing import as_json, one_line, say, table
from .running import on_backend_with_retention
from .scan import scan_as_row
from .watching import watched

_NOT_REBUILT = 1


class Mode(StrEnum):
    """What becomes of bad entries."""

    REPAIR = "repair"
    QUARANTINE = "quarantine"
    REBUILD = "rebuild"


@on_backend_with_retention
async def recover(
    backend: RedisStreamsPersistence,
    *,
    mode: Annotated[
        Mode,
        typer.Option(
            help="repair deletes bad entries, quarantine moves them to the quarantine, rebuild deletes them and writes"
            " each stream anew."
        ),
    ],
    full: Annotated[
        bool, typer.Option("--full", help="Go through everything. Else: so far back that the next scan finds nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> int:
    """Take what a scan would find out of the way, then compact.

    Exit status: 0 if it is done, 1 if a stream was not written anew, 2 if it could not be done.
    """
    config = PersistenceRecoveryConfig(mode=PersistenceRecoveryMode(mode.value))
    with watched() as progress:
        report = await backend.recover(config, full=full, progress=progress)
    if json:
        as_json(asdict(report) | {"scan": scan_as_row(report.scan)})
    else:
        _tell(report)
    return _NOT_REBUILT if any(each.obstacle for each in report.rebuilt) else 0


def _tell(report: StreamsRecoveryReport) -> None:
    mended = sum(each.count for each in report.recovered)
    say(f"mended: {mended:,}, entries read: {report.scan.examined:,}", "")
    if report.recovered:
        rows = [(each.stream, each.reason, each.group or None, each.count) for each in report.recovered]
        table(("stream", "what was wrong", "group", "mended"), rows)
        say("")
    if report.quarantined_files:
        say(*(f"moved to {key}" for key in report.quarantined_files), "")
    if report.compaction:
        tell_compaction(report.compaction)
    if report.rebuilt:
        say("")
        _tell_rebuilt(report.rebuilt)


def _tell_rebuilt(rebuilt: tuple[RebuildOutcome, ...]) -> None:
    rows = [
        (each.stream, "no" if each.obstacle else "yes", each.records, each.before_bytes, each.after_bytes)
        for each in rebuilt
    ]
    table(("stream", "written anew", "records", "bytes", "after"), rows)
    for each in rebuilt:
        if each.obstacle:
            say(one_line(f"{each.stream} was not written anew: {each.obstacle}"))
