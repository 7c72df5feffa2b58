"""Ids of entries."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import InvalidEntryId, InvalidValue

LARGEST = 2**64 - 1
parts = st.integers(0, LARGEST) | st.sampled_from([0, 1, LARGEST - 1, LARGEST])
ids = st.builds(EntryId, parts, parts)


@given(ids)
def test_an_id_reads_back_from_its_text(entry_id: EntryId) -> None:
    assert EntryId.parse(str(entry_id)) == entry_id


@given(parts)
def test_without_a_sequence_it_is_the_first_of_its_millisecond(milliseconds: int) -> None:
    assert EntryId.parse(str(milliseconds)) == EntryId(milliseconds, 0)


@given(ids, ids)
def test_ids_are_ordered_by_time_then_by_sequence(one: EntryId, other: EntryId) -> None:
    assert (one < other) == ((one.milliseconds, one.sequence) < (other.milliseconds, other.sequence))


@given(ids)
def test_a_successor_is_a_valid_id_with_none_in_between(entry_id: EntryId) -> None:
    assume(entry_id != (LARGEST, LARGEST))
    successor = entry_id.successor()
    position = entry_id.milliseconds * 2**64 + entry_id.sequence

    assert EntryId.parse(str(successor)) == successor
    assert successor.milliseconds * 2**64 + successor.sequence == position + 1


def test_the_last_id_of_all_is_its_own_successor() -> None:
    assert EntryId(LARGEST, LARGEST).successor() == EntryId(LARGEST, LARGEST)


@given(ids)
def test_a_predecessor_is_what_an_id_succeeds(entry_id: EntryId) -> None:
    assume(entry_id != (LARGEST, LARGEST))

    assert entry_id.successor().predecessor() == entry_id


def test_the_first_id_of_all_is_its_own_predecessor() -> None:
    assert EntryId(0, 0).predecessor() == EntryId(0, 0)


def test_an_id_tells_its_time_in_seconds() -> None:
    assert EntryId(1_700_000_000_500, 7).seconds == 1_700_000_000.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "+",
        "$",
        ">",
        "*",
        "1-*",
        "1-",
        "-1",
        "1-2-3",
        "1.5-0",
        " 1-0",
        "1-0\n",
        "1_000-0",
        "0x1-0",
        "\u0661-\u0660",
        "²-0",
        str(LARGEST + 1),
        f"0-{LARGEST + 1}",
        "9" * 5000,
        None,
        1,
        b"1-0",
        EntryId(1, 0),
    ],
)
def test_anything_else_is_no_id(text: Any) -> None:
    with pytest.raises(InvalidEntryId, match="is no entry id"):
        EntryId.parse(text)


def test_a_bad_id_is_a_bad_value() -> None:
    assert issubclass(InvalidEntryId, InvalidValue)
