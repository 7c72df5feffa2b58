"""The one place that says which keys a consumer's group has to itself."""

from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.partitions import Partition
from papyra_streams.ports.deliveries import Member


def member(keys: Keyspace, partition: Partition, group: str, consumer: str) -> Member:
    """Name a consumer of a group on the stream of a partition, and the group's keys beside it."""
    return Member(
        stream=keys.stream(partition),
        group=group,
        consumer=consumer,
        state=keys.group(partition, "state", group),
        pause=keys.group(partition, "pause", group),
        leader=keys.group(partition, "leader", group),
    )
