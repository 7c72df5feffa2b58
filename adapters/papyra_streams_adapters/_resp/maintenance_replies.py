"""From the scripts' answers to what the ports tell of trims, demands and references."""

from papyra_streams.ports import DanglingPage, Demand, Demands, Obstacle, TrimOutcome

from .client import Reply
from .replies import entry_id, items, number, text


def trim_outcome(stream: str, reply: Reply) -> TrimOutcome:
    """Read what trim.lua answers."""
    removed, unfinished, moment, abandoned, *rest = items(reply)
    return TrimOutcome(
        removed=number(removed),
        obstacle=_obstacle(stream, number(moment), *rest) if rest else None,
        abandoned=frozenset(map(text, items(abandoned))),
        is_unfinished=number(unfinished) == 1,
    )


def _obstacle(stream: str, moment_ms: int, group: Reply, needs: Reply, consumer: Reply) -> Obstacle:
    needed = entry_id(needs)
    return Obstacle(
        stream=stream,
        group=text(group),
        needs=needed,
        consumer=text(consumer) or None,
        # An id that was not given out by the server's clock can lie ahead of it.
        age_ms=max(0, moment_ms - needed.milliseconds),
    )


def demands(reply: Reply) -> Demands:
    """Read what demands.lua answers."""
    moment, *rows = items(reply)
    return Demands(moment_ms=number(moment), groups=[_demand(row) for row in rows])


def _demand(reply: Reply) -> Demand:
    group, needs, consumer, silence, abandoned = items(reply)
    return Demand(
        group=text(group),
        needs=entry_id(needs) if needs else None,
        consumer=text(consumer) or None,
        silence_ms=None if silence is None else number(silence),
        is_abandoned=number(abandoned) == 1,
    )


def dangling(reply: Reply) -> DanglingPage:
    """Read what dangling.lua answers."""
    ids, examined, *last = items(reply)
    return DanglingPage(
        ids=[entry_id(each) for each in items(ids)],
        examined=number(examined),
        last=entry_id(last[0]) if last else None,
    )
