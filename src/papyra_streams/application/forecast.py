"""What a trim would do, without doing it."""

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import Abandonment, Demand, Obstacle, StreamStore, TrimOutcome


async def trim(store: StreamStore, stream: str, keep_from: EntryId, abandonment: Abandonment | None) -> TrimOutcome:
    """Tell what an exact trim of entries older than ``keep_from`` would come to now."""
    demands = await store.demands(stream, abandonment=abandonment)
    behind = [(each, each.needs) for each in demands.groups if each.needs is not None and each.needs < keep_from]
    obstacles = [_obstacle(stream, each, needs, demands.moment_ms) for each, needs in behind if not each.is_abandoned]
    obstacle = min(obstacles, key=lambda each: each.needs, default=None)
    floor = obstacle.needs if obstacle else keep_from
    return TrimOutcome(
        removed=await store.count(stream, before=floor),
        obstacle=obstacle,
        abandoned=frozenset(each.group for each, needs in behind if each.is_abandoned and needs < floor),
    )


def _obstacle(stream: str, demand: Demand, needs: EntryId, moment_ms: int) -> Obstacle:
    return Obstacle(
        stream=stream,
        group=demand.group,
        needs=needs,
        consumer=demand.consumer,
        age_ms=max(0, moment_ms - needs.milliseconds),
    )
