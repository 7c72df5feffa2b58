"""The entry ids that a caller names."""

from collections.abc import Iterable, Sequence

from papyra_streams.errors import InvalidValue

from .entries import EntryId


def parse_ids(texts: Sequence[str]) -> list[EntryId]:
    """Read entry ids, in their order.

    :raises InvalidValue: if they are no list; a single id is none
    :raises InvalidEntryId: if one of them is no entry id
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InvalidValue(f"Give a list of entry ids, not {texts!r}.")
    return [EntryId.parse(text) for text in texts]
