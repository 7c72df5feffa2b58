"""``python -m benchmarks``: measure, compare, and write down what was found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from papyra_streams import drivers
from papyra_streams.errors import ConfigurationError

from . import bars, chart, cores, machine, plan, report
from .bars import Outcome
from .cores import Cores
from .plan import Findings
from .servers import NoServer, Program, find, running

_DRIVERS = ["redis", "valkey", "coredis"]
_WIDTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """What is measured of each server."""

    drivers: Sequence[str]
    parts: Sequence[str]
    rounds: int
    cores: Cores


def main(
    *,
    servers: Annotated[
        Path | None,
        typer.Option(help="Measure servers of this directory, each DIR/<name>/bin/server. Default: the embedded one."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Which of them, or which part: writing, reading, maintenance, cluster, sizing; again for each."
            " Default: redis-8.6 and valkey-9.1, and all parts."
        ),
    ] = None,
    driver: Annotated[list[str] | None, typer.Option(help="Which drivers, again for each. Default: all three.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each measurement is taken.")] = 5,
    out: Annotated[Path, typer.Option(help="Where the figures and the charts go.")] = Path(".nox", "figures"),
) -> None:
    """Measure beside Papyra's own backend and others. Exit status 0, whether the bars are met or not."""
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    console.width = max(console.width, _WIDTH)
    try:
        programs = find(servers, [each for each in only or [] if each not in plan.PARTS])
        for name in driver or _DRIVERS:
            drivers.load(name)
    except (NoServer, ConfigurationError) as error:
        raise typer.BadParameter(str(error)) from None
    here = cores.choose()
    facts = machine.facts(here)
    console.print_json(data=facts)
    how = _How(
        drivers=driver or _DRIVERS,
        parts=[part for part in plan.PARTS if part in (only or [])] or plan.PARTS,
        rounds=rounds,
        cores=here,
    )
    measured = [_measure(program, how, console) for program in programs]
    _write(out, facts, how, measured)
    console.print(f"Figures and charts: {out}")


def _measure(program: Program, how: _How, console: Console) -> tuple[Findings, list[Outcome]]:
    with (
        running(program, how.cores.server) as server,
        cores.on(how.cores.client),
        console.status(server.name) as status,
    ):
        findings = plan.measure(
            server,
            how.drivers,
            how.parts,
            rounds=how.rounds,
            core=how.cores.server,
            say=lambda now: status.update(f"{server.name}: {now}"),
        )
    outcomes = bars.outcomes(findings.samples, how.drivers)
    report.show(console, findings, outcomes)
    return findings, outcomes


def _write(out: Path, facts: dict[str, object], how: _How, measured: list[tuple[Findings, list[Outcome]]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    found = {"machine": facts, "servers": [report.as_json(*each) for each in measured]}
    (out / "bench.json").write_text(json.dumps(found, indent=2) + "\n")
    (out / "bench.md").write_text("\n".join(report.as_markdown(*each) for each in measured))
    for findings, _ in measured:
        for name, drawing in chart.draw(findings, how.drivers):
            (out / name).write_bytes(drawing)


if __name__ == "__main__":
    typer.run(main)
