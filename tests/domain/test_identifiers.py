"""Which ids a caller may name."""

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.identifiers import parse_ids
from papyra_streams.errors import InvalidEntryId, InvalidValue


def test_ids_keep_their_order_and_number() -> None:
    assert parse_ids(["7-1", "5", "7-1"]) == [EntryId(7, 1), EntryId(5, 0), EntryId(7, 1)]


def test_no_ids_are_a_list_too() -> None:
    assert parse_ids(()) == []


@pytest.mark.parametrize("single", ["7-1", 7, None])
def test_a_single_id_is_no_list(single: object) -> None:
    with pytest.raises(InvalidValue, match="list of entry ids"):
        parse_ids(single)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["", "x", "7-", "-1", ">", "$", "+", b"7-1", 7, None, "18446744073709551616-0"])
def test_something_else_among_them_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidEntryId):
        parse_ids(["7-1", wrong])  # type: ignore[list-item]
