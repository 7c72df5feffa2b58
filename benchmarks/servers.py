"""The servers that are measured: one process each, of this run's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from papyra_streams import drivers
from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.sources import EmbeddedSource, InstalledProgram
from papyra_streams_contract.wire import ask_once

from . import cores

_USUAL = ("redis-8.6", "valkey-9.1")


class NoServer(Exception):
    """There is nothing to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server's program, and the benchmark that its makers ship with it.

    ``directory`` -- holds ``bin/server`` and ``bin/benchmark``; None is the embedded server, which brings no benchmark
    """

    name: str
    directory: Path | None

    @property
    def benchmark(self) -> Path | None:
        """The makers' benchmark, if it is there."""
        program = None if self.directory is None else (self.directory / "bin" / "benchmark").absolute()
        return program if program is not None and program.is_file() else None


class RunningServer:
    """A server that runs for the measurements alone."""

    def __init__(self, program: Program, process: ServerProcess) -> None:
        self.name = program.name
        self.benchmark = program.benchmark
        self.endpoint = process.endpoint
        self.url = str(process.endpoint)
        self.pause = process.pause
        self.resume = process.resume

    @property
    def version(self) -> str:
        """What the server says it is."""
        facts = self._facts("server")
        # Valkey also says which Redis it is compatible with.
        return f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {facts['redis_version']}"

    @property
    def cpu_seconds(self) -> float:
        """How much processor time the server has used."""
        facts = self._facts("cpu")
        return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])

    @property
    def frees_memory(self) -> bool:
        """Whether a thread of the server still frees what removed keys had."""
        return self._facts("memory")["lazyfree_pending_objects"] != "0"

    def empty(self) -> None:
        """Remove all keys, and return when that is done."""
        self._ask("FLUSHALL SYNC")

    def length(self, stream: str) -> int:
        """Count the entries of a stream."""
        return int(self._ask(f"XLEN {stream}")[1:])

    def _facts(self, section: str) -> dict[str, str]:
        lines = self._ask(f"INFO {section}").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _ask(self, command: str) -> bytes:
        reply = ask_once(self.endpoint, command)
        if reply.startswith(b"-"):
            raise NoServer(f"{self.name} refuses {command}: {reply.decode(errors='replace')}")
        return reply


def find(directory: Path | None, names: list[str]) -> list[Program]:
    """Return the programs to measure: without a directory the embedded server alone.

    :raises NoServer: if one that was named is not there, or none is
    """
    if directory is None:
        return [Program(name="embedded", directory=None)]
    there = {program.parent.parent.name: program.parent.parent for program in sorted(directory.glob("*/bin/server"))}
    missing = [name for name in names if name not in there]
    chosen = names or [name for name in _USUAL if name in there]
    if missing or not chosen:
        raise NoServer(
            f"{directory} has no {' and no '.join(missing or _USUAL)};"
            f" it has {', '.join(there) or 'no <name>/bin/server at all'}. Choose with --only NAME."
        )
    return [Program(name=name, directory=there[name]) for name in chosen]


@contextmanager
def running(program: Program, core: int | None) -> Iterator[RunningServer]:
    """Run a server on one core, with nothing written to disk."""
    with cores.on(core):
        process = _start(program)
    try:
        yield RunningServer(program, process)
    finally:
        process.stop()


def _start(program: Program) -> ServerProcess:
    if program.directory is not None:
        return InstalledProgram(program.name, (program.directory / "bin" / "server").absolute()).private()
    source = EmbeddedSource(drivers.embedded_servers())
    try:
        return source.private()
    finally:
        source.stop()
