"""Which ids a caller may name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.identifiers import PartitionedId, by_partition, parse_ids
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition, partitions_of
from papyra_streams.errors import InvalidEntryId, InvalidValue

ONE = partitions_of(EVENTS, 1)
FOUR = partitions_of(EVENTS, 4)
_ids = st.builds(EntryId, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


def test_ids_keep_their_order_and_number() -> None:
    wanted = [EntryId(7, 1), EntryId(5, 0), EntryId(7, 1)]

    assert parse_ids(["7-1", "5", "7-1"], ONE) == [PartitionedId(each) for each in wanted]


def test_no_ids_are_a_list_too() -> None:
    assert parse_ids((), ONE) == []


@pytest.mark.parametrize("single", ["7-1", 7, None])
def test_a_single_id_is_no_list(single: object) -> None:
    with pytest.raises(InvalidValue, match="list of entry ids"):
        parse_ids(single, ONE)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["", "x", "7-", "-1", ">", "$", "+", b"7-1", 7, None, "18446744073709551616-0"])
@pytest.mark.parametrize("ending", ["", "@1"])
def test_something_else_among_them_is_refused(wrong: object, ending: str) -> None:
    with pytest.raises(InvalidEntryId):
        parse_ids(["7-1", wrong + ending if isinstance(wrong, str) else wrong], FOUR)  # type: ignore[list-item]


@pytest.mark.parametrize("number", ["", "0", "01", "x", "-1", "1@1", " 1", "\N{SUPERSCRIPT ONE}", "1000"])
def test_a_number_of_a_partition_is_written_in_one_way(number: str) -> None:
    with pytest.raises(InvalidEntryId):
        parse_ids([f"7-1@{number}"], FOUR)


@given(_ids, st.integers(0, 3))
def test_what_is_shown_is_read_again(entry: EntryId, number: int) -> None:
    place = PartitionedId(entry, number)

    assert PartitionedId.parse(str(place), FOUR) == place


def test_in_the_first_partition_an_id_is_shown_as_it_is() -> None:
    assert str(PartitionedId(EntryId(7, 1))) == "7-1"
    assert str(PartitionedId(EntryId(7, 1), 3)) == "7-1@3"


@pytest.mark.parametrize(("text", "partitions", "how_many"), [("7-1@4", FOUR, "4"), ("7-1@1", ONE, "1")])
def test_an_id_of_a_partition_that_there_is_not_is_refused(
    text: str, partitions: tuple[Partition, ...], how_many: str
) -> None:
    with pytest.raises(InvalidEntryId, match=f"partitions of events, counted from 0, are {how_many}"):
        parse_ids([text], partitions)


def test_ids_are_divided_by_their_partitions() -> None:
    divided = by_partition(parse_ids(["7-1@2", "5-0", "3-0@2"], FOUR), FOUR)

    assert divided == {FOUR[2]: [EntryId(7, 1), EntryId(3, 0)], FOUR[0]: [EntryId(5, 0)]}


@given(st.lists(st.builds(PartitionedId, st.builds(EntryId, st.integers(0, 3), st.just(0)), st.integers(0, 3))))
def test_behind_an_id_is_what_is_greater_whatever_its_partition(ids: list[PartitionedId]) -> None:
    for one in ids:
        for other in ids:
            if other.entry != EntryId(0, 0):
                assert (other.entry > one.begin_in(FOUR[other.number])) == (other > one)
