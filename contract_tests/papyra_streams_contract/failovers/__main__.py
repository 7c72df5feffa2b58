"""``python -m papyra_streams_contract.failovers``: kill primaries under load, and print what that cost as Markdown."""

import asyncio
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from papyra_streams import drivers
from papyra_streams_contract.servers import ServerFailed
from papyra_streams_contract.sources import ProgramSource, programs

from .accounts import Account
from .plan import TOPOLOGIES, Case, cases
from .rounds import Rounds
from .tables import head, row

_USUAL = ("redis-8.6", "valkey-9.1")


def main(
    *,
    servers: Annotated[Path, typer.Option(help="Where they are: DIR/<name>/bin/server.")],
    only: Annotated[list[str], typer.Option(help="Which of them, again for each.")] = list(_USUAL),  # noqa: B006 -- typer copies it
    topology: Annotated[list[str], typer.Option(help="Which ones, again for each.")] = list(TOPOLOGIES),  # noqa: B006
    durability: Annotated[list[str] | None, typer.Option(help="Which levels, again for each. Default: all.")] = None,
    driver: Annotated[list[str] | None, typer.Option(help="Which drivers take turns. Default: all.")] = None,
    kills: Annotated[int, typer.Option(min=1, help="How many primaries die in each case.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Decides when they do. Default: another each time.")] = None,
) -> None:
    """Kill primaries under load, and print what that cost."""
    try:
        sources = {source.name: source for source in programs(servers) if source.name in only}
    except ServerFailed as error:
        raise typer.BadParameter(str(error)) from None
    if missing := set(only) - set(sources):
        raise typer.BadParameter(f"{servers} has no {', '.join(sorted(missing))}; choose with --only NAME.")
    chance = Random(time.time_ns() if seed is None else seed)
    chosen = [
        case for case in cases() if case.topology in topology and case.durability in (durability or [case.durability])
    ]
    for name, source in sources.items():
        assert isinstance(source, ProgramSource)
        typer.echo(f"{name}\n\n{head()}")
        for case in chosen:
            accounts = asyncio.run(
                _measure(case, source.program, driver or drivers.names(), _kills(case, kills), chance)
            )
            typer.echo(row(case, accounts))
        typer.echo()


def _kills(case: Case, kills: int) -> int:
    return -(-kills // 2) if case.is_aside else kills


async def _measure(case: Case, program: Path, names: list[str], kills: int, chance: Random) -> list[Account]:
    deployment = case.deployment(program)
    try:
        await deployment.start()
        with tempfile.TemporaryDirectory() as directory:
            rounds = Rounds(deployment, Path(directory), chance, durability=case.durability, drivers=names)
            return [await rounds.run(case.fault) for _ in range(kills)]
    finally:
        deployment.stop()


if __name__ == "__main__":
    typer.run(main)
