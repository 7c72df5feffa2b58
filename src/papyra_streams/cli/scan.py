"""``papyra-streams scan``: what is wrong."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from papyra.persistence.models import PersistenceAnomalyType

from papyra_streams.domain.reports import StreamsScanReport
from papyra_streams.errors import Unavailable
from papyra_streams.persistence import RedisStreamsPersistence

from .printing import as_json, one_line, say, table
from .running import on_backend_with_retention
from .watching import watched

_ANOMALIES_FOUND = 1


@on_backend_with_retention
async def scan(
    backend: RedisStreamsPersistence,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Read everything. Else: the newest scan_sample_size of each stream.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many anomalies are named one by one.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> int:
    """Tell what is wrong with the streams; change nothing.

    Exit status: 0 if nothing is, also with warnings; 1 if anomalies are found, for which `papyra persistence scan`
    has 2; 2 if the scan could not be made.
    """
    with watched() as progress, _warnings_not_logged():
        report = await backend.scan(full=full, limit=limit, progress=progress)
    _check_made(report)
    if json:
        as_json(scan_as_row(report))
    else:
        _tell(report)
    return _ANOMALIES_FOUND if report.found else 0


@contextmanager
def _warnings_not_logged() -> Iterator[None]:
    """Keep the scan's warnings from the log, since they are in the report."""

    def is_none(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("A scan saw: ")

    logger = logging.getLogger("papyra_streams")
    logger.addFilter(is_none)
    try:
        yield
    finally:
        logger.removeFilter(is_none)


def scan_as_row(report: StreamsScanReport) -> dict[str, Any]:
    """Return it as JSON takes it; the type of an anomaly by its name, since Papyra's value for it is a bare number."""
    named = [asdict(each) | {"type": each.type.name} for each in report.anomalies]
    return asdict(report) | {"anomalies": named, "found": report.found}


def _check_made(report: StreamsScanReport) -> None:
    for anomaly in report.anomalies:
        if anomaly.type is PersistenceAnomalyType.UNEXPECTED_FILE:
            raise Unavailable(anomaly.detail or "")


def _tell(report: StreamsScanReport) -> None:
    say(f"anomalies: {report.found:,}, entries read: {report.examined:,}")
    if report.counts:
        say("")
        rows = [(each.stream, each.reason, each.group or None, each.count) for each in report.counts]
        table(("stream", "what is wrong", "group", "count"), rows)
        say("", *(one_line(f"{each.path}: {each.detail}") for each in report.anomalies))
    if left := report.found - len(report.anomalies):
        say(f"and {left:,} more; see them with --limit {report.found}")
    if report.warnings:
        say("", *(f"warning: {one_line(each.detail)}" for each in report.warnings))
