"""The servers that are measured: one process each, of this run's own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from papyra_streams import drivers
from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.servers import PrivateServer
from papyra_streams_contract.sources import EmbeddedSource
from papyra_streams_contract.topologies.clusters import Cluster
from papyra_streams_contract.wire import ask_once

from . import cores

PRIMARIES = 3
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
        self.program = program
        self.name = program.name
        self.benchmark = program.benchmark
        self.endpoint = process.endpoint
        self.url = str(process.endpoint)
        self.pause = process.pause
        self.resume = process.resume

    @property
    def nodes(self) -> "Sequence[RunningServer]":
        """Itself, as if it were a cluster of one."""
        return [self]

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
    def used_memory(self) -> int:
        """How many bytes the server has allocated."""
        return int(self._facts("memory")["used_memory"])

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

    def persistence(self, name: str) -> int:
        """Return a number that the server has of its files."""
        return int(self._facts("persistence")[name])

    def serves(self, key: str) -> bool:
        """Tell whether it has the slot of a key, as the node of a cluster."""
        return not ask_once(self.endpoint, f"EXISTS {key}").startswith(b"-MOVED")

    def _facts(self, section: str) -> dict[str, str]:
        lines = self._ask(f"INFO {section}").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _ask(self, command: str) -> bytes:
        reply = ask_once(self.endpoint, command)
        if reply.startswith(b"-"):
            raise NoServer(f"{self.name} refuses {command}: {reply.decode(errors='replace')}")
        return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCluster:
    """The primaries of a cluster that runs for the measurements alone."""

    url: str
    nodes: Sequence[RunningServer]


Place = RunningServer | RunningCluster
"""Where streams are."""


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
    process = ServerProcess(_path(program))
    with _started(process, core):
        yield RunningServer(program, process)


@contextmanager
def running_cluster(program: Program, core: int | None) -> Iterator[RunningCluster]:
    """Run a cluster of three primaries, which share the slots, all on one core, with nothing written to disk."""
    cluster = Cluster(_path(program), primaries=PRIMARIES)
    with _started(cluster, core):
        yield RunningCluster(url=cluster.url, nodes=[RunningServer(program, node) for node in cluster.nodes])


@contextmanager
def _started(server: PrivateServer, core: int | None) -> Iterator[None]:
    try:
        with cores.on(core):
            server.start()
        yield
    finally:
        server.stop()


def _path(program: Program) -> Path:
    if program.directory is not None:
        return (program.directory / "bin" / "server").absolute()
    source = EmbeddedSource(drivers.embedded_servers())
    try:
        return source.program
    finally:
        source.stop()
