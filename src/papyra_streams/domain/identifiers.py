"""The entry ids that a caller names, and is shown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from papyra_streams.errors import InvalidEntryId, InvalidValue

from .entries import EntryId
from .partitions import Partition

_NUMBER = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


class PartitionedId(NamedTuple):
    """An entry's id and the number of its partition: entries of two partitions may have the same id.

    In the first partition it is shown as it is, ``"1700000000000-0"``; in another one with its number,
    ``"1700000000000-0@3"``. The order is that in which partitions are read as one.
    """

    entry: EntryId
    number: int = 0

    @classmethod
    def parse(cls, text: str, partitions: Sequence[Partition]) -> Self:
        """Read what was shown.

        :raises InvalidEntryId: if the text has another form, or there is no such partition
        """
        entry, at, number = text.partition("@") if isinstance(text, str) else (text, "", "")
        parsed = cls(EntryId.parse(entry))
        if not at:
            return parsed
        if not _NUMBER.fullmatch(number):
            raise InvalidEntryId(
                f"{text!r} is no entry id; behind '@' stands the number of a partition, as in '1700000000000-0@3'."
            )
        if int(number) >= len(partitions):
            raise InvalidEntryId(
                f"{text!r} is of partition {number}; the partitions of {partitions[0].kind.stream}, counted from 0, are"
                f" {len(partitions)}."
            )
        return parsed._replace(number=int(number))

    def begin_in(self, partition: Partition) -> EntryId:
        """Return the id of a partition behind which begins what is behind this one."""
        # Of equal ids, those of later partitions are behind it.
        return self.entry if partition.number <= self.number else self.entry.predecessor()

    def __str__(self) -> str:
        return shown(self.entry, self.number)


def shown(entry: EntryId, number: int) -> str:
    """Show the id of an entry of a partition."""
    return f"{entry}@{number}" if number else str(entry)


def parse_ids(texts: Sequence[str], partitions: Sequence[Partition]) -> list[PartitionedId]:
    """Read entry ids of one kind, in their order.

    :raises InvalidValue: if they are no list; a single id is none
    :raises InvalidEntryId: if one of them is no entry id, or of no partition that there is
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InvalidValue(f"Give a list of entry ids, not {texts!r}.")
    return [PartitionedId.parse(text, partitions) for text in texts]


def by_partition(ids: Iterable[PartitionedId], partitions: Sequence[Partition]) -> Mapping[Partition, list[EntryId]]:
    """Divide ids by their partitions; those of each keep their order."""
    divided: dict[Partition, list[EntryId]] = {}
    for each in ids:
        divided.setdefault(partitions[each.number], []).append(each.entry)
    return divided
