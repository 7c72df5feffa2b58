"""What was found, for the reader of a terminal, of a page and of a file."""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from . import bars, plan, sizing, writes
from .bars import Outcome
from .growing import plan as growing
from .growing import writing as turns
from .maintaining import compacting, listing, shelf
from .maintaining import memory as clients
from .plan import CLUSTER, MAINTENANCE, READING, SIZING, WRITING, Findings
from .reading import memory, takeover
from .reading import plan as readings

_COLUMNS = ("measured", "contender", "median", "beside", "its median", "ratio", "spread", "bar", "")
_IN_MICROSECONDS = 1e6
_IN_MEGABYTES = 1e-6
_IN_MILLISECONDS = 1e3
_FEW = 100
# These stand under a measure's own name; it has but one quantity, or this is the first of them.
_PLAIN = ("rate", "seconds", "bytes")
_SIZES = {
    WRITING: (
        f"Writing, in a round: {plan.EVENTS:,} tasks, {writes.CALLS:,} calls, {writes.MANY:,} records for {bars.MANY},"
        f" {writes.ACTOR_SECONDS:g} seconds of an actor system."
    ),
    READING: (
        f"Reading, in a round: {readings.ENTRIES:,} entries by each, {takeover.HELD:,} taken over;"
        f" once: {memory.MANY:,} entries by one worker."
    ),
    MAINTENANCE: (
        f"Maintenance, in a round: {shelf.ENTRIES:,} entries; {listing.CALLS:,} calls for {listing.LIMIT} of them, and"
        f" {listing.CALLS_OF_PAPYRA} by papyra; {compacting.TIMES} times compacted to {shelf.KEPT:,};"
        f" once: all of that by one client, with {clients.BAD:,} bad ones."
    ),
    CLUSTER: (
        f"Cluster, in a round, {turns.TURNS} times by turns: {turns.MANY:,} records for record_many,"
        f" {turns.TASKS:,} tasks, {turns.CALLS:,} calls, by {growing.SYSTEMS} actor systems in sum;"
        f" the first two by one of {growing.ACTORS} actors."
    ),
    SIZING: "Sizing, once.",
}


def show(console: Console, findings: Findings, outcomes: Sequence[Outcome]) -> None:
    """Print one server's table, what it is to be read with, and which bars are missed."""
    if outcomes:
        console.print(_table(findings, outcomes))
    if SIZING in findings.parts:
        head, *rows = sizing.rows(findings.samples)
        console.print(_tabulated(findings, head, rows))
    console.print(sizes(findings))
    for line in remarks(findings):
        console.print(line)
    missed = [outcome for outcome in outcomes if outcome.is_met is False]
    judged = [outcome for outcome in outcomes if outcome.is_met is not None]
    if judged:
        console.print(f"[bold]{len(judged) - len(missed)} of {len(judged)} bars met[/]")
    for outcome in missed:
        each = outcome.comparison
        console.print(
            f"missed: {_measured(outcome)}, {each.contender} beside {each.beside}: {outcome.ratio:.2f}, bar {each.bar}"
        )


def sizes(findings: Findings) -> str:
    """Say how much was done at a time."""
    return f"An entry has {findings.entry_size} bytes. {' '.join(_SIZES[part] for part in findings.parts)}"


def remarks(findings: Findings) -> Iterator[str]:
    """Yield what the table does not hold."""
    if findings.bystanders is not None:
        yield f"other processes took {findings.bystanders:.1%} of the machine's time meanwhile"
    if WRITING in findings.parts:
        yield from _remarks_on_writing(findings)
    if READING in findings.parts:
        yield from _remarks_on_reading(findings)
    if MAINTENANCE in findings.parts:
        yield from _remarks_on_maintenance(findings)
    if CLUSTER in findings.parts:
        yield from _remarks_on_cluster(findings)


def _remarks_on_writing(findings: Findings) -> Iterator[str]:
    if not findings.samples.of(bars.MANY, bars.MAKERS, "rate"):
        yield f"skipped: {bars.MANY} beside {bars.MAKERS}, which the server '{findings.server}' comes without"
        for driver, found in findings.samples.found[bars.MANY].items():
            yield f"{bars.MANY}, {driver}: {_with_unit(statistics.median(found['rate']), 'rate')}"
    for driver, queued in findings.queued.items():
        yield (
            f"memory of a record that waits, {driver}: {queued.queue} bytes,"
            f" and {queued.task} for the task that waits with it"
        )
    for contender, found in findings.samples.found[bars.ACTORS].items():
        kept_up = (
            "" if contender == bars.FLOOR else f", {statistics.median(found['kept_up']):.1%} of them stored by then"
        )
        yield f"events emitted, {contender}: {statistics.median(found['events']):.0f}/s{kept_up}"


def _remarks_on_reading(findings: Findings) -> Iterator[str]:
    if not findings.samples.found.get(bars.MEMORY):
        yield f"skipped: {bars.MEMORY}, which this system does not tell"
    for driver, found in findings.samples.found[bars.TAKEOVER].items():
        if driver != bars.CLAIMED:
            late = [seconds - takeover.CLAIM_IDLE for seconds in found["seconds"]]
            yield f"taken over after claim_idle, {driver}: {statistics.median(late):.2f} s, at most {max(late):.2f} s"


def _remarks_on_maintenance(findings: Findings) -> Iterator[str]:
    for driver, found in findings.samples.found[bars.PINGED].items():
        if driver != bars.ALLOWED_WAIT:
            rest, longest = statistics.median(found["at_rest"]), max(found["longest"])
            yield (
                f"{bars.PINGED}, {driver}: at most {longest * _IN_MILLISECONDS:.1f} ms;"
                f" the p99 at rest {rest * _IN_MILLISECONDS:.2f} ms"
            )
    if not (of_clients := findings.samples.found.get(bars.CLIENT)):
        yield f"skipped: {bars.CLIENT}, which this system does not tell"
        return
    for driver, found in of_clients.items():
        if driver != bars.ALLOWED_MEMORY:
            steps = [f"{step} {_with_unit(peak, 'bytes')}" for step, (peak,) in found.items() if step != "bytes"]
            yield f"{bars.CLIENT} at most by the end of each step, {driver}: {', '.join(steps)}"


def _remarks_on_cluster(findings: Findings) -> Iterator[str]:
    for measure in (bars.SYSTEMS_MANY, bars.HOT_MANY):
        shares = [share for found in findings.samples.found[measure].values() for share in found[turns.FULLEST]]
        of_three = max(share for share in shares if share < 1)
        yield f"{measure}: of three nodes the fullest had {of_three:.0%} of the records"


def _table(findings: Findings, outcomes: Sequence[Outcome]) -> Table:
    table = _tabulated(findings, _COLUMNS, [])
    previous = ""
    for outcome in outcomes:
        if outcome.comparison.measure != previous and previous:
            table.add_section()
        previous = outcome.comparison.measure
        style = {True: "green", False: "bold red", None: None}[outcome.is_met]
        table.add_row(*_cells(outcome), style=style)
    return table


def _tabulated(findings: Findings, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*head, title=f"{findings.version} ({findings.server})", box=SIMPLE_HEAD, padding=(0, 1))
    for row in rows:
        table.add_row(*row)
    return table


def as_markdown(findings: Findings, outcomes: Sequence[Outcome]) -> str:
    """Return one server's table for a page."""
    tables = [[_COLUMNS, *(_cells(outcome) for outcome in outcomes)], list(sizing.rows(findings.samples))]
    shown = "\n\n".join(_as_markdown(rows) for rows in tables if len(rows) > 1)
    listed = "\n".join(f"- {line}" for line in remarks(findings))
    return f"### {findings.version}\n\n{sizes(findings)}\n\n{shown}\n\n{listed}\n"


def _as_markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *others])


def as_json(findings: Findings, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return one server's figures, those of every round too; in seconds, in bytes, and rates to the second."""
    return {
        "server": findings.server,
        "version": findings.version,
        "entry bytes": findings.entry_size,
        "share of other processes": findings.bystanders,
        "parts": list(findings.parts),
        "records": {"tasks": plan.EVENTS, "calls": writes.CALLS, "record_many": writes.MANY, "queued": plan.QUEUED},
        "entries": {"handled": readings.ENTRIES, "taken over": takeover.HELD, "early": memory.FEW, "late": memory.MANY},
        "claim_idle": takeover.CLAIM_IDLE,
        "maintained": {
            "entries": shelf.ENTRIES,
            "kept": shelf.KEPT,
            "few": shelf.FEW,
            "bad": clients.BAD,
            "listed": listing.LIMIT,
        },
        "cluster": {
            "systems": growing.SYSTEMS,
            "actors": growing.ACTORS,
            "turns": turns.TURNS,
            "record_many": turns.MANY,
            "tasks": turns.TASKS,
            "calls": turns.CALLS,
        },
        "samples": findings.samples.found,
        "bytes of a queued record": {name: dataclasses.asdict(queued) for name, queued in findings.queued.items()},
        "ratios": [_outcome_as_json(outcome) for outcome in outcomes],
    }


def _outcome_as_json(outcome: Outcome) -> dict[str, object]:
    each = outcome.comparison
    return {
        "measure": each.measure,
        "quantity": each.quantity,
        "contender": each.contender,
        "beside": each.beside,
        "median": outcome.value,
        "median of that": outcome.other,
        "ratio": outcome.ratio,
        "least": outcome.least,
        "greatest": outcome.greatest,
        "bar": None if each.bar is None else {"bound": each.bar.bound, "at most": each.bar.at_most},
        "met": outcome.is_met,
    }


def _cells(outcome: Outcome) -> tuple[str, ...]:
    each = outcome.comparison
    return (
        _measured(outcome),
        each.contender,
        _with_unit(outcome.value, each.quantity),
        each.beside,
        _with_unit(outcome.other, each.quantity),
        f"{outcome.ratio:.2f}",
        f"{outcome.least:.2f} - {outcome.greatest:.2f}",
        "" if each.bar is None else str(each.bar),
        {True: "met", False: "missed", None: ""}[outcome.is_met],
    )


def _measured(outcome: Outcome) -> str:
    each = outcome.comparison
    return each.measure if each.quantity in _PLAIN else f"{each.measure}, {each.quantity}"


def _with_unit(value: float, quantity: str) -> str:
    match quantity:
        case "rate":
            return f"{value:,.0f}/s" if value >= _FEW else f"{value:#.3g}/s"
        case "seconds":
            return f"{value:#.3g} s"
        case "bytes":
            return f"{value * _IN_MEGABYTES:.1f} MB"
        case bars.BUSIEST:
            return f"{value:.0%}"
        case bars.PER_CPU_SECOND | bars.PER_CLIENT_SECOND:
            return f"{value:,.0f}"
        case _:
            return f"{value * _IN_MICROSECONDS:,.0f} µs"
