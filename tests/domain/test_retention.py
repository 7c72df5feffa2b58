"""Which records a retention policy shows."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.records import Record, Unreadable, read
from papyra_streams.domain.retention import Horizon, RetentionWalk, check_policy
from papyra_streams.errors import InvalidValue

NOW = 1_700_000_000.0
MINUTE = 60.0


def a_record(*, recorded: float, timestamp: float | None = None, words: str = "", sequence: int = 0) -> Record:
    """Return what the server took at ``recorded``, with a timestamp of the same time unless another is given."""
    row = {"kind": "event", "timestamp": recorded if timestamp is None else timestamp, "payload": words}
    entry = Entry(EntryId(int(recorded * 1000), sequence), {b"data": json.dumps(row).encode()})
    result = read(EVENTS, entry)
    assert isinstance(result, Record)
    return result


def unreadable(recorded: float) -> Unreadable:
    """Return an entry that no read can return, and that the server took then."""
    return Unreadable(EntryId(int(recorded * 1000), 0), "not JSON")


def shown(policy: RetentionPolicy, oldest_first: list[Record], *, now: float = NOW) -> list[Record]:
    """Walk as a reader does: backwards, and no further than need be."""
    walk = RetentionWalk(policy, now)
    found: list[Record] = []
    for record in reversed(oldest_first):
        if walk.shows(record):
            found.insert(0, record)
        if walk.over:
            break
    return found


def shown_by_the_rules(policy: RetentionPolicy, oldest_first: list[Record]) -> list[Record]:
    """Apply Papyra's rules one after another: age, then count, then bytes."""
    kept = oldest_first
    if policy.max_age_seconds is not None:
        kept = [record for record in kept if record.moment >= NOW - policy.max_age_seconds]
    if policy.max_records is not None:
        kept = kept[-policy.max_records :]
    if policy.max_total_bytes is not None:
        while sum(record.size for record in kept) > policy.max_total_bytes:
            kept = kept[1:]
    return kept


# Less than a minute between a record's two times, so that the short cut over old ids changes nothing.
_timed = st.tuples(st.floats(0, 10_000), st.floats(-MINUTE / 2, MINUTE / 2), st.text("x", max_size=40), st.booleans())


def _records(drawn: list[tuple[float, float, str, bool]]) -> list[Record]:
    ages = sorted((age for age, *_ in drawn), reverse=True)
    return [
        a_record(
            recorded=NOW - age,
            # A clock that is not wall time counts from the machine's start.
            timestamp=1e5 - age if monotonic else NOW - age + skew,
            words=words,
            sequence=position,
        )
        for position, (age, (_, skew, words, monotonic)) in enumerate(zip(ages, drawn, strict=True))
    ]


record_lists = st.lists(_timed, max_size=30).map(_records)
policies = st.builds(
    RetentionPolicy,
    max_records=st.none() | st.integers(1, 30),
    max_age_seconds=st.none() | st.floats(1, 11_000),
    max_total_bytes=st.none() | st.integers(1, 2000),
)


@given(policies, record_lists)
def test_age_then_count_then_bytes_decide(policy: RetentionPolicy, records: list[Record]) -> None:
    assert shown(policy, records) == shown_by_the_rules(policy, records)


@given(policies, record_lists)
def test_what_is_shown_is_in_order(policy: RetentionPolicy, records: list[Record]) -> None:
    positions = [records.index(record) for record in shown(policy, records)]

    assert positions == sorted(positions)


@given(record_lists)
def test_without_limits_everything_is_shown(records: list[Record]) -> None:
    assert shown(RetentionPolicy(), records) == records


def test_the_walk_is_over_with_the_last_record_that_is_allowed() -> None:
    walk = RetentionWalk(RetentionPolicy(max_records=1), NOW)

    assert walk.shows(a_record(recorded=NOW))
    assert walk.over


def test_a_record_that_does_not_fit_ends_the_walk_even_if_an_older_one_would_fit() -> None:
    small, large = a_record(recorded=NOW - 1), a_record(recorded=NOW, words="x" * 100)

    assert shown(RetentionPolicy(max_total_bytes=small.size), [small, large]) == []


def test_records_that_fill_the_size_exactly_are_shown() -> None:
    records = [a_record(recorded=NOW - 1), a_record(recorded=NOW)]

    assert shown(RetentionPolicy(max_total_bytes=sum(record.size for record in records)), records) == records


def test_a_record_exactly_as_old_as_allowed_is_shown() -> None:
    record = a_record(recorded=NOW - 60)

    assert shown(RetentionPolicy(max_age_seconds=60), [record]) == [record]


def test_hidden_records_do_not_count() -> None:
    young, old = a_record(recorded=NOW - 1), a_record(recorded=NOW - 1, timestamp=NOW - 100, sequence=1)

    assert shown(RetentionPolicy(max_age_seconds=60, max_records=1), [young, old]) == [young]


# -- the default clock, which counts from the machine's start


def test_a_young_record_of_the_default_clock_is_shown() -> None:
    record = a_record(recorded=NOW - 10, timestamp=5.0)

    assert shown(RetentionPolicy(max_age_seconds=60), [record]) == [record]


def test_an_old_record_of_the_default_clock_is_hidden() -> None:
    assert shown(RetentionPolicy(max_age_seconds=60), [a_record(recorded=NOW - 61, timestamp=5.0)]) == []


# -- the short cut: an id that is older than the age by more than a minute ends the walk


def test_an_id_a_minute_older_than_the_age_ends_the_walk() -> None:
    walk = RetentionWalk(RetentionPolicy(max_age_seconds=60), NOW)

    assert not walk.shows(a_record(recorded=NOW - 61 - MINUTE))
    assert walk.over


def test_up_to_a_minute_an_early_clock_may_still_have_written_a_young_record() -> None:
    walk = RetentionWalk(RetentionPolicy(max_age_seconds=60), NOW)

    assert not walk.shows(a_record(recorded=NOW - 60 - MINUTE))
    assert not walk.over


def test_a_clock_within_a_minute_is_believed() -> None:
    ahead = a_record(recorded=NOW - 60 - MINUTE, timestamp=NOW - 5)

    assert shown(RetentionPolicy(max_age_seconds=60), [ahead]) == [ahead]


def test_a_clock_far_ahead_does_not_keep_a_record_for_ever() -> None:
    assert shown(RetentionPolicy(max_age_seconds=60), [a_record(recorded=NOW - 61 - MINUTE, timestamp=NOW)]) == []


def test_an_id_that_a_program_chose_is_no_time() -> None:
    numbered = a_record(recorded=0.007, timestamp=NOW - 5)

    assert shown(RetentionPolicy(max_age_seconds=60), [numbered]) == [numbered]


def test_a_horizon_hides_what_lies_before_it() -> None:
    horizon = Horizon(NOW)

    assert horizon.hides(a_record(recorded=NOW - 0.5))
    assert not horizon.hides(a_record(recorded=NOW))


def test_where_timestamps_are_compared_with_a_time_clocks_may_be_an_hour_apart() -> None:
    horizon = Horizon(NOW)

    assert not horizon.hides(a_record(recorded=NOW - 3600, timestamp=NOW))
    assert horizon.hides(a_record(recorded=NOW - 3601, timestamp=NOW))


# -- entries that no read can return


def test_an_unreadable_entry_is_as_old_as_its_id() -> None:
    walk = RetentionWalk(RetentionPolicy(max_age_seconds=60), NOW)

    assert walk.concerns(unreadable(NOW - 60))
    assert not walk.concerns(unreadable(NOW - 61))
    assert not walk.over


def test_an_unreadable_entry_a_minute_older_than_the_age_ends_the_walk() -> None:
    walk = RetentionWalk(RetentionPolicy(max_age_seconds=60), NOW)

    assert not walk.concerns(unreadable(NOW - 61 - MINUTE))
    assert walk.over


def test_without_an_age_an_unreadable_entry_concerns_everybody() -> None:
    walk = RetentionWalk(RetentionPolicy(max_records=1), NOW)

    assert walk.concerns(unreadable(1.0))
    assert not walk.over


@given(st.floats(1e9, 2e9), st.integers(-2, 2))
def test_what_is_older_than_the_first_id_has_passed(moment: float, milliseconds: int) -> None:
    horizon = Horizon(moment)
    first = horizon.first_id
    older = EntryId(first.milliseconds - 1 - abs(milliseconds), 5)

    assert horizon.passed(older) or older.seconds < 1e9
    assert not horizon.passed(EntryId(first.milliseconds + 3, 0))


# -- the limits themselves


@pytest.mark.parametrize("limit", ["max_records", "max_age_seconds", "max_total_bytes"])
@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, "5", True])
def test_a_limit_that_shows_nothing_is_refused(limit: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=limit):
        check_policy(RetentionPolicy(**{limit: value}))


@pytest.mark.parametrize("limit", ["max_records", "max_total_bytes"])
def test_a_part_of_a_record_or_byte_is_refused(limit: str) -> None:
    half: Any = 2.5

    with pytest.raises(InvalidValue, match=limit):
        check_policy(RetentionPolicy(**{limit: half}))


def test_limits_may_be_absent_or_positive() -> None:
    check_policy(RetentionPolicy())
    check_policy(RetentionPolicy(max_records=1, max_age_seconds=0.5, max_total_bytes=1))
