"""What is measured of a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from papyra.persistence.models import PersistedEvent

from benchmarks import bars
from benchmarks.rounds import Measurement
from benchmarks.servers import PRIMARIES, RunningCluster, RunningServer

from . import spread, writing
from .writing import Contender

SYSTEMS = 12
# So many that they fall on the partitions about evenly.
ACTORS = 500


def measurements(
    server: RunningServer, cluster: RunningCluster, drivers: Sequence[str], events: Sequence[PersistedEvent]
) -> list[list[Measurement]]:
    """Return what each round measures."""
    systems = spread.many(cluster.nodes, SYSTEMS)
    hot = spread.hot(cluster.nodes)
    acted = [replace(event, actor_address=f"hot:{number % ACTORS}") for number, event in enumerate(events)]

    def of_systems(driver: str) -> list[Contender]:
        return [
            Contender(name=bars.on_one(driver), place=server, systems=systems),
            Contender(name=bars.on_three(driver), place=cluster, systems=systems),
        ]

    def of_hot(driver: str) -> list[Contender]:
        return [
            Contender(name=bars.whole(driver), place=cluster, systems=[f"{hot}-whole"]),
            Contender(name=bars.divided(driver), place=cluster, systems=[hot], partitions=PRIMARIES),
        ]

    measures: list[tuple[str, Callable[[str], list[Contender]], writing.Work]] = [
        (bars.SYSTEMS_MANY, of_systems, writing.many),
        (bars.SYSTEMS_TASKS, of_systems, writing.singly),
        (bars.SYSTEMS_CALLS, of_systems, writing.one_by_one),
        (bars.HOT_MANY, of_hot, writing.many),
        (bars.HOT_TASKS, of_hot, writing.singly),
    ]
    return [
        [
            Measurement(
                measure=measure,
                contender=f"{driver}, by turns",
                run=partial(writing.measure, contenders(driver), driver, work, acted),
            )
            for driver in drivers
        ]
        for measure, contenders, work in measures
    ]
