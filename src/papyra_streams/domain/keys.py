"""The names of the keys: Papyra's for the streams, ours for what belongs to a stream."""

import re
from dataclasses import dataclass
from typing import Literal

from papyra_streams.errors import InvalidName

from .arguments import check_count
from .kinds import KINDS, Kind
from .partitions import MOST_PARTITIONS, Partition, partitions_of

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# It goes along with every command, and into every line of the log.
_LONGEST_NAME = 1000
_TAG = re.compile(r"\{[^{}]+\}")


@dataclass(frozen=True, slots=True)
class Keyspace:
    """All keys of one actor system.

    A key that belongs to a stream lies in the stream's cluster slot, so that one script may touch both. The slot of a
    key without a ``{tag}`` comes from the whole key, so the stream's key is the tag of the keys that belong to it; a
    tag that the stream's key has of its own is carried along (Redis Cluster specification, "Hash tags").

    :raises InvalidName: if two systems could share a key, or a key could leave its stream's slot
    :raises InvalidValue: if there cannot be so many partitions
    """

    prefix: str
    system_id: str
    quarantine_prefix: str | None = None
    partitions: int = 1

    def __post_init__(self) -> None:
        _check("prefix", self.prefix)
        _check("system_id", self.system_id)
        if ":" in self.system_id:
            raise InvalidName(f"`system_id` {self.system_id!r} must not contain ':'; put that part into `prefix`.")
        if len(_TAG.findall(self.namespace)) > 1:
            raise InvalidName(f"`prefix` and `system_id` have a hash tag each ({self.namespace!r}); leave one out.")
        if self.quarantine_prefix is not None:
            _check("quarantine_prefix", self.quarantine_prefix)
            if "{" in self.quarantine_prefix:
                raise InvalidName("`quarantine_prefix` must not contain a hash tag; the stream's slot is used.")
        check_count("partitions", self.partitions, at_most=MOST_PARTITIONS)
        if self.partitions > 1 and "{" in self.namespace:
            raise InvalidName(
                f"`prefix` and `system_id` must have no hash tag where there are `partitions` ({self.namespace!r}):"
                " it would put them all in one cluster slot."
            )

    @property
    def namespace(self) -> str:
        """What all streams of the system begin with; no two systems share it."""
        return f"{self.prefix}:{self.system_id}"

    def partitions_of(self, kind: Kind) -> tuple[Partition, ...]:
        """Return the partitions of a kind, in their order."""
        return partitions_of(kind, self.partitions)

    @property
    def all_partitions(self) -> tuple[Partition, ...]:
        """The partitions of all kinds."""
        return tuple(partition for kind in KINDS for partition in self.partitions_of(kind))

    def stream(self, partition: Partition) -> str:
        """Name the stream of a partition."""
        first = f"{self.namespace}:{partition.kind.stream}"
        # No system's first partition ends in a number, so none shares the key of another one's further partitions.
        return f"{first}:{partition.number}" if partition.number else first

    def partition_at(self, stream: str) -> Partition | None:
        """Return the partition whose stream has this name, also one beyond those there are now; None if none has."""
        for kind in KINDS:
            for partition in partitions_of(kind, MOST_PARTITIONS):
                if self.stream(partition) == stream:
                    return partition
        return None

    def quarantine(self, partition: Partition) -> str:
        """Name the stream that takes the bad entries of a partition."""
        return self._beside(partition, self.quarantine_prefix or f"{self.namespace}:quarantine")

    def unattended(self, partition: Partition) -> str:
        """Name the key that remembers since when groups have been behind, and nobody was heard of in them."""
        return self._beside(partition, f"{self.namespace}:unattended")

    def rebuilt(self, partition: Partition, part: Literal["copy", "former"]) -> str:
        """Name the key of a stream's copy, or of what the copy takes the place of."""
        return self._beside(partition, f"{self.namespace}:rebuild-{part}")

    def producer_mark(self, partition: Partition, producer: str) -> str:
        """Name the key that remembers the number of a producer's last record."""
        return f"{self._beside(partition, f'{self.namespace}:producer')}:{producer}"

    def group(self, partition: Partition, part: str, group: str) -> str:
        """Name one of the keys that a consumer group has to itself: its ``state``, ``pause`` or ``leader``."""
        return f"{self._beside(partition, f'{self.namespace}:{part}')}:{group}"

    def _beside(self, partition: Partition, namespace: str) -> str:
        stream = self.stream(partition)
        # No name has an empty part, so "::" keeps this apart from the stream of a system with a longer prefix.
        return f"{namespace}::{stream}" if _TAG.search(stream) else f"{namespace}:{{{stream}}}"


def _check(setting: str, name: str) -> None:
    if not isinstance(name, str):
        raise InvalidName(f"`{setting}` must be a string, not {type(name).__name__}.")
    if not all(part.strip() for part in name.split(":")):
        raise InvalidName(f"`{setting}` {name!r} has an empty part; write something on each side of a ':'.")
    if _CONTROL.search(name):
        raise InvalidName(f"`{setting}` {name!r} contains a control character.")
    if name != name.strip():
        raise InvalidName(f"`{setting}` {name!r} begins or ends with a blank; take it out.")
    _check_text(f"`{setting}`", name)
    rest = _TAG.sub("", name, count=1)
    if "{" in rest or "}" in rest:
        raise InvalidName(
            f"`{setting}` {name!r} has a brace that would move keys to another cluster slot;"
            " write one hash tag such as {orders}, or none."
        )


def check_name(what: str, name: str) -> None:
    """Check the name of a group or a consumer.

    :raises InvalidName: if it is empty or no string, cannot be sent, or is longer than any name need be
    """
    if not isinstance(name, str) or not name:
        raise InvalidName(f"The name of a {what} must be a string of at least one character, not {name!r}.")
    if len(name) > _LONGEST_NAME:
        raise InvalidName(
            f"The name of a {what} must have at most {_LONGEST_NAME} characters; {name[:20]!r}… has {len(name)}."
        )
    _check_text(f"The name of a {what}", name)


def _check_text(what: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidName(f"{what} {name!r} contains a lone surrogate, which UTF-8 cannot carry.") from None
