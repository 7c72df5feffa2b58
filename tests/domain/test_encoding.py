"""Whatever is recorded becomes an entry: strict JSON that reads back as what it was, as far as JSON can say it."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from papyra.address import ActorAddress
from papyra.persistence._utils import _json_default
from papyra.persistence.models import PersistedAudit, PersistedDeadLetter, PersistedEvent

from papyra_streams.domain import records
from papyra_streams.domain.encoding import MARKER, encode, usable_timestamp
from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS, KINDS, Kind
from papyra_streams.domain.records import Record, read

from .values import (
    Amount,
    Box,
    Colour,
    Level,
    Point,
    Unreadable,
    Unspeakable,
    anything,
    epoch_times,
    plain,
    stored_by_papyra,
    texts,
)

NOW = 1_700_000_000.0
kinds = st.sampled_from(KINDS)


def encoded(record: object, kind: Kind = EVENTS) -> bytes:
    return encode(kind, record, system_id="orders", now=NOW)


def strictly_parsed(data: bytes) -> dict[str, Any]:
    """Parse JSON as RFC 8259 has it: UTF-8, no NaN, no name twice in one object."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), "a name stands twice in one object"
        return dict(pairs)

    parsed = json.loads(data.decode("utf-8", "strict"), parse_constant=refuse, object_pairs_hook=distinct)
    assert isinstance(parsed, dict)
    return parsed


def read_back(data: bytes, kind: Kind = EVENTS) -> Record:
    result = read(kind, Entry(EntryId(1, 0), {b"data": data}))
    assert isinstance(result, Record), result
    return result


def payload_of(value: object) -> Any:
    return strictly_parsed(encoded({"payload": value, "timestamp": NOW}))["payload"]


# -- nothing is refused, and everything can be read


@given(kinds, anything)
def test_any_payload_becomes_an_entry_that_can_be_read(kind: Kind, payload: object) -> None:
    data = encoded({"payload": payload, "timestamp": NOW}, kind)

    strictly_parsed(data)
    assert read_back(data, kind).timestamp == NOW


@given(kinds, anything)
@example(EVENTS, {1: "a", "1": "b", "timestamp": 1.0})
@example(EVENTS, {"kind": "a", Point("k", "d"): 1})
@example(EVENTS, Unspeakable())
@example(EVENTS, Unreadable())
def test_anything_at_all_can_be_recorded(kind: Kind, record: object) -> None:
    data = encoded(record, kind)

    assert strictly_parsed(data)["kind"] == kind.record
    read_back(data, kind)


@given(anything)
@example(Amount(1.7e9))
@example(10**400)
@example(True)  # noqa: FBT003 -- a value like any other
def test_any_timestamp_gives_a_record_that_can_be_read(timestamp: object) -> None:
    assert usable_timestamp(read_back(encoded({"timestamp": timestamp})).timestamp)


@given(anything)
def test_a_null_beside_it_does_not_change_how_a_value_is_written(value: object) -> None:
    row = {"payload": value, "timestamp": NOW}

    alone, beside = strictly_parsed(encoded(row)), strictly_parsed(encoded(row | {"other": None}))

    assert alone["payload"] == beside["payload"]


# -- what JSON can say comes back as it was


@given(plain, epoch_times, texts)
def test_plain_data_comes_back_as_the_same_event(payload: Any, timestamp: float, event_type: str) -> None:
    event = PersistedEvent("orders", "orders:1", event_type, payload, timestamp)

    assert records.event(read_back(encoded(event)), "orders") == event


@given(st.lists(texts), st.integers(0), epoch_times)
def test_an_audit_comes_back_the_same(names: list[str], count: int, timestamp: float) -> None:
    audit = PersistedAudit("orders", timestamp, count, 1, 2, 3, 4, tuple(names), tuple(names), count)

    assert records.audit(read_back(encoded(audit, AUDITS), AUDITS), "orders") == audit


@given(plain, epoch_times)
def test_a_dead_letter_comes_back_the_same(payload: Any, timestamp: float) -> None:
    letter = PersistedDeadLetter("orders", None, "Order", payload, timestamp)

    assert records.dead_letter(read_back(encoded(letter, DEAD_LETTERS), DEAD_LETTERS), "orders") == letter


@given(st.integers(-(2**13_000), 2**13_000))
def test_integers_of_any_size_stay_exact(number: int) -> None:
    assert read_back(encoded({"payload": number})).row["payload"] == number


def test_deeply_nested_data_comes_back_the_same() -> None:
    nested: Any = [None]
    for _ in range(150):
        nested = [nested]

    assert payload_of(nested) == nested


def test_a_float_of_a_type_of_its_own_stays_a_number() -> None:
    assert payload_of(Amount(1.5)) == 1.5


# -- what JSON cannot say is still there, as text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_stored_as_its_repr(number: float) -> None:
    assert payload_of([number]) == [{MARKER: repr(number)}]


def test_a_lone_surrogate_is_stored_as_its_repr() -> None:
    assert payload_of("a\ud800") == {MARKER: "'a\\ud800'"}


def test_an_integer_too_long_to_print_is_stored_in_hexadecimal() -> None:
    assert payload_of(1 << 20_000) == {MARKER: hex(1 << 20_000)}


def test_an_integer_too_long_to_print_may_be_a_key() -> None:
    assert payload_of({1 << 20_000: "big", "other": 1}) == {hex(1 << 20_000): "big", "other": 1}


def test_keys_that_would_become_one_keep_both_values() -> None:
    shown = payload_of({1: "number", "1": "text"})

    assert "number" in shown[MARKER]
    assert "text" in shown[MARKER]


def test_a_record_whose_field_names_would_become_one_is_kept_with_its_time() -> None:
    row = strictly_parsed(encoded({1: "number", "1": "text", "timestamp": 12.5}))

    assert row["timestamp"] == 12.5
    assert "number" in row["payload"][MARKER]


def test_what_contains_itself_ends_at_its_repr() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)

    assert payload_of(cycle) == [1, {MARKER: "[1, [...]]"}]


def test_an_object_without_words_is_stored_by_its_type() -> None:
    assert "Unspeakable object at" in payload_of(Unspeakable())


def test_a_value_that_cannot_be_looked_into_leaves_the_rest_of_the_record_as_it_is() -> None:
    event = PersistedEvent("orders", "orders:1", "ActorCrashed", {"cause": Unreadable(), "actor": 7}, NOW - 1)
    row = strictly_parsed(encoded(event))

    assert "Unreadable object at" in row["payload"].pop("cause")[MARKER]
    assert row == json.loads(encoded(PersistedEvent("orders", "orders:1", "ActorCrashed", {"actor": 7}, NOW - 1)))


def test_a_record_that_cannot_be_looked_into_is_kept_as_its_repr() -> None:
    row = strictly_parsed(encoded(Unreadable()))

    assert row["timestamp"] == NOW
    assert "Unreadable" in row["payload"][MARKER]


def test_a_member_of_an_enumeration_is_stored_as_its_value() -> None:
    assert payload_of([Colour.RED, Colour.NONE, Level.LOW]) == ["red", None, 1]


# -- the record's own fields


def test_a_record_without_a_system_or_time_gets_both() -> None:
    assert strictly_parsed(encoded({"event_type": "x"})) == {
        "kind": "event",
        "event_type": "x",
        "system_id": "orders",
        "timestamp": NOW,
    }


@pytest.mark.parametrize("timestamp", [math.nan, math.inf, None, "1700000000", True, 10**400])
def test_a_time_that_is_no_number_becomes_the_present(timestamp: object) -> None:
    assert strictly_parsed(encoded({"timestamp": timestamp}))["timestamp"] == NOW


def test_a_record_cannot_claim_another_kind() -> None:
    assert strictly_parsed(encoded({"kind": "audit"}))["kind"] == "event"


def test_an_actor_address_becomes_an_object() -> None:
    event = PersistedEvent("orders", ActorAddress("orders", 7), "x", {}, NOW)

    assert strictly_parsed(encoded(event))["actor_address"] == {"system": "orders", "actor_id": 7}


def test_what_is_neither_model_nor_mapping_becomes_the_payload() -> None:
    assert strictly_parsed(encoded("a fact"))["payload"] == "a fact"


def test_a_record_is_not_changed_by_being_encoded() -> None:
    row: Mapping[str, Any] = {"payload": 1}

    encoded(row)

    assert row == {"payload": 1}


# -- the same entries as Papyra's own backend


@given(stored_by_papyra)
def test_a_payload_is_stored_as_papyra_stores_it(payload: Any) -> None:
    event = PersistedEvent("orders", "orders:1", "x", {"payload": payload}, NOW)
    by_papyra = json.dumps({"kind": "event", **_json_default(event)}, ensure_ascii=False, default=_json_default)

    assert strictly_parsed(encoded(event)) == json.loads(by_papyra)


def test_a_dataclass_in_a_payload_becomes_an_object() -> None:
    assert payload_of(Box(Box(1))) == {"content": {"content": 1}}
