"""The one place that says which keys a consumer's group has to itself."""

from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import Kind
from papyra_streams.ports.deliveries import Member


def member(keys: Keyspace, kind: Kind, group: str, consumer: str) -> Member:
    """Name a consumer of a group on the stream of a kind, and the group's keys beside it."""
    return Member(
        stream=keys.stream(kind),
        group=group,
        consumer=consumer,
        state=keys.group(kind, "state", group),
        pause=keys.group(kind, "pause", group),
        leader=keys.group(kind, "leader", group),
    )
