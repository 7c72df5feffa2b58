"""What was found, for the reader of a terminal, of a page and of a file."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from . import bars, plan
from .bars import Outcome
from .plan import Findings

_COLUMNS = ("measured", "contender", "median", "beside", "its median", "ratio", "spread", "bar", "")
_IN_MICROSECONDS = 1e6


def show(console: Console, findings: Findings, outcomes: Sequence[Outcome]) -> None:
    """Print one server's table, what it is to be read with, and which bars are missed."""
    console.print(_table(findings, outcomes))
    console.print(sizes(findings))
    for line in remarks(findings):
        console.print(line)
    missed = [outcome for outcome in outcomes if outcome.is_met is False]
    judged = [outcome for outcome in outcomes if outcome.is_met is not None]
    console.print(f"[bold]{len(judged) - len(missed)} of {len(judged)} bars met[/]")
    for outcome in missed:
        each = outcome.comparison
        console.print(
            f"missed: {_measured(outcome)}, {each.contender} beside {each.beside}: {outcome.ratio:.2f}, bar {each.bar}"
        )


def sizes(findings: Findings) -> str:
    """Say how much was written at a time."""
    return (
        f"An entry has {findings.entry_size} bytes. In a round: {plan.TASKS:,} tasks, {plan.CALLS:,} calls,"
        f" {plan.MANY:,} records for {bars.MANY}, {plan.ACTOR_SECONDS:g} seconds of an actor system."
    )


def remarks(findings: Findings) -> Iterable[str]:
    """Yield what the table does not hold."""
    if findings.bystanders is not None:
        yield f"other processes took {findings.bystanders:.1%} of the machine's time meanwhile"
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


def _table(findings: Findings, outcomes: Sequence[Outcome]) -> Table:
    table = Table(*_COLUMNS, title=f"{findings.version} ({findings.server})", box=SIMPLE_HEAD, padding=(0, 1))
    previous = ""
    for outcome in outcomes:
        if outcome.comparison.measure != previous and previous:
            table.add_section()
        previous = outcome.comparison.measure
        style = {True: "green", False: "bold red", None: None}[outcome.is_met]
        table.add_row(*_cells(outcome), style=style)
    return table


def as_markdown(findings: Findings, outcomes: Sequence[Outcome]) -> str:
    """Return one server's table for a page."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_cells(outcome) for outcome in outcomes)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    listed = "\n".join(f"- {line}" for line in remarks(findings))
    return f"### {findings.version}\n\n{sizes(findings)}\n\n{table}\n\n{listed}\n"


def as_json(findings: Findings, outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return one server's figures, those of every round too; times are in seconds, rates to the second."""
    return {
        "server": findings.server,
        "version": findings.version,
        "entry bytes": findings.entry_size,
        "share of other processes": findings.bystanders,
        "records": {"tasks": plan.TASKS, "calls": plan.CALLS, "record_many": plan.MANY, "queued": plan.QUEUED},
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
    return each.measure if each.quantity == "rate" else f"{each.measure}, {each.quantity}"


def _with_unit(value: float, quantity: str) -> str:
    return f"{value:,.0f}/s" if quantity == "rate" else f"{value * _IN_MICROSECONDS:,.0f} µs"
