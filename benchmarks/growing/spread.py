"""The names of actor systems whose streams lie evenly on the nodes of a cluster, as those of very many systems do."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

from benchmarks.contenders import PREFIX
from benchmarks.servers import RunningServer
from papyra_streams import RedisStreamsConfig
from papyra_streams.domain.kinds import EVENTS


def streams(system: str, partitions: int) -> list[str]:
    """Name the streams that have a system's events."""
    keys = RedisStreamsConfig(prefix=PREFIX, system_id=system, partitions=partitions).keyspace()
    return [keys.stream(partition) for partition in keys.partitions_of(EVENTS)]


def serving(nodes: Sequence[RunningServer], stream: str) -> int:
    """Tell which of the nodes has a stream."""
    return next(number for number, node in enumerate(nodes) if node.serves(stream))


def many(nodes: Sequence[RunningServer], total: int) -> list[str]:
    """Name so many systems, whose events are on each of the nodes alike."""
    chosen: list[str] = []
    found: Counter[int] = Counter()
    names = _names("shop")
    while len(chosen) < total:
        system = next(names)
        (stream,) = streams(system, 1)
        where = serving(nodes, stream)
        if found[where] < total // len(nodes):
            found[where] += 1
            chosen.append(system)
    return chosen


def hot(nodes: Sequence[RunningServer]) -> str:
    """Name a system of as many partitions as there are nodes, each on another one."""
    return next(
        system
        for system in _names("hot")
        if len({serving(nodes, stream) for stream in streams(system, len(nodes))}) == len(nodes)
    )


def _names(prefix: str) -> Iterator[str]:
    return (f"{prefix}-{number}" for number in count())
