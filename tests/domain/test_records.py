"""Which entries are bad, and why; and that what Papyra's own backend wrote reads as Papyra reads it."""

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from papyra.persistence._utils import _json_default, _pick_dataclass_fields
from papyra.persistence.models import PersistedAudit, PersistedDeadLetter, PersistedEvent

from papyra_streams.domain import records
from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS, KINDS, Kind, kind_named
from papyra_streams.domain.records import DELETED, Record, Unreadable, read
from papyra_streams.domain.reports import bad_entry
from papyra_streams.errors import UnknownKind

from .values import epoch_times, stored_by_papyra, texts

ID = EntryId(1_700_000_000_000, 3)


def entry(data: bytes) -> Entry:
    return Entry(ID, {b"data": data})


def record_of(data: bytes, kind: Kind = EVENTS) -> Record:
    result = read(kind, entry(data))
    assert isinstance(result, Record), result
    return result


def written_by_papyra(kind: Kind, model: object) -> bytes:
    """Write an entry as `RedisStreamsPersistence._xadd` of Papyra 0.3.0 does."""
    return json.dumps({"kind": kind.record, **_json_default(model)}, ensure_ascii=False, default=_json_default).encode()


def row_read_by_papyra(data: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(data.decode())
    del row["kind"]
    return row


# -- what is bad


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b'{"kind":"event","timestamp":1,"payload":"\xc3"}', "not UTF-8"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"kind":"event","timestamp":1} {}', "not JSON"),
        (b'{"kind":"event","timestamp":1}\x00', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"kind":"event","timestamp":' + b"9" * 5000 + b"}", "not JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"event"', "not a JSON object"),
        (b"{}", "not of kind 'event'"),
        (b'{"timestamp":1}', "not of kind 'event'"),
        (b'{"kind":"audit","timestamp":1}', "not of kind 'event'"),
        (b'{"kind":["event"],"timestamp":1}', "not of kind 'event'"),
        (b'{"kind":"event"}', "no usable timestamp"),
        (b'{"kind":"event","timestamp":null}', "no usable timestamp"),
        (b'{"kind":"event","timestamp":"1700000000"}', "no usable timestamp"),
        (b'{"kind":"event","timestamp":true}', "no usable timestamp"),
        (b'{"kind":"event","timestamp":NaN}', "no usable timestamp"),
        (b'{"kind":"event","timestamp":-Infinity}', "no usable timestamp"),
        (b'{"kind":"event","timestamp":1e400}', "no usable timestamp"),
        (b'{"kind":"event","timestamp":' + b"9" * 400 + b"}", "no usable timestamp"),
    ],
)
def test_an_entry_is_bad_for_one_reason(data: bytes, reason: str) -> None:
    assert read(EVENTS, entry(data)) == Unreadable(ID, reason)


def test_an_entry_without_the_field_data_is_bad() -> None:
    assert read(EVENTS, Entry(ID, {b"Data": b"{}"})) == Unreadable(ID, "no field 'data'")


def test_an_entry_that_only_a_group_still_lists_is_told_apart() -> None:
    assert read(EVENTS, Entry(ID, None)) == Unreadable(ID, DELETED)


@given(st.binary() | st.text().map(str.encode), st.sampled_from(KINDS))
def test_reading_never_raises(data: bytes, kind: Kind) -> None:
    assert read(kind, entry(data)).id == ID


def test_a_reason_is_reported_with_the_stream_and_the_id() -> None:
    report = bad_entry("papyra:local:events", Unreadable(ID, "not JSON"))

    assert report.path == "papyra:local:events"
    assert report.detail == "entry 1700000000000-3: not JSON"
    assert (report.entry_id, report.reason) == ("1700000000000-3", "not JSON")


# -- what is good


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_and_a_time_are_enough_for_a_record(kind: Kind) -> None:
    assert record_of(b'{"kind":"%s","timestamp":5}' % kind.record.encode(), kind).timestamp == 5


def test_other_fields_of_the_entry_do_not_matter() -> None:
    read_with_more = read(EVENTS, Entry(ID, {b"trace": b"\xff", b"data": b'{"kind":"event","timestamp":5}'}))

    assert isinstance(read_with_more, Record)


def test_the_size_of_a_record_is_that_of_its_json() -> None:
    data = '{"kind":"event","timestamp":5,"payload":"é"}'.encode()

    assert record_of(data).size == len(data)


def test_a_lone_surrogate_that_json_spells_out_can_be_read() -> None:
    assert record_of(b'{"kind":"event","timestamp":5,"payload":"\\ud800"}').row["payload"] == "\ud800"


@pytest.mark.parametrize("timestamp", [1e9, 1.7e9, 4_000_000_000])
def test_a_time_since_the_epoch_is_when_it_was_recorded(timestamp: float) -> None:
    assert record_of(f'{{"kind":"event","timestamp":{timestamp}}}'.encode()).moment == timestamp


@pytest.mark.parametrize("timestamp", [-1.0, 0, 12.5, 999_999_999.9])
def test_with_another_clock_the_id_tells_when_it_was_recorded(timestamp: float) -> None:
    assert record_of(f'{{"kind":"event","timestamp":{timestamp}}}'.encode()).moment == 1_700_000_000.0


# -- as Papyra reads it


@given(stored_by_papyra, texts, epoch_times)
def test_an_event_that_papyra_wrote_reads_as_papyra_reads_it(payload: Any, event_type: str, timestamp: float) -> None:
    data = written_by_papyra(EVENTS, PersistedEvent("orders", "orders:1", event_type, {"it": payload}, timestamp))
    by_papyra = PersistedEvent(**_pick_dataclass_fields(PersistedEvent, row_read_by_papyra(data)))

    assert records.event(record_of(data), "other") == by_papyra


@given(st.lists(texts), st.integers(), epoch_times)
def test_an_audit_that_papyra_wrote_reads_with_the_same_values(names: list[str], count: int, timestamp: float) -> None:
    written = PersistedAudit("orders", timestamp, count, count, 0, 0, 0, tuple(names), tuple(names), count)
    data = written_by_papyra(AUDITS, written)
    by_papyra = PersistedAudit(**_pick_dataclass_fields(PersistedAudit, row_read_by_papyra(data)))
    ours = records.audit(record_of(data, AUDITS), "other")

    # Papyra leaves lists where its model has tuples.
    assert asdict(by_papyra) | {"registry_orphans": tuple(names), "registry_dead": tuple(names)} == asdict(ours)
    assert ours == written


@given(stored_by_papyra, texts, epoch_times)
def test_a_dead_letter_that_papyra_wrote_reads_as_papyra_reads_it(payload: Any, name: str, timestamp: float) -> None:
    data = written_by_papyra(DEAD_LETTERS, PersistedDeadLetter("orders", None, name, payload, timestamp))
    by_papyra = PersistedDeadLetter(**_pick_dataclass_fields(PersistedDeadLetter, row_read_by_papyra(data)))

    assert records.dead_letter(record_of(data, DEAD_LETTERS), "other") == by_papyra


def test_the_nan_that_papyra_writes_stays_readable() -> None:
    data = written_by_papyra(EVENTS, PersistedEvent("orders", "a", "x", {"ratio": math.nan}, 1.7e9))

    assert math.isnan(records.event(record_of(data), "orders").payload["ratio"])


def test_fields_that_an_older_version_did_not_write_are_filled_as_papyra_fills_them() -> None:
    bare = record_of(b'{"kind":"event","timestamp":5}')

    assert records.event(bare, "orders") == PersistedEvent("orders", None, "", {}, 5)  # type: ignore[arg-type]  # as Papyra
    assert records.dead_letter(bare, "orders") == PersistedDeadLetter("orders", None, "", None, 5)
    assert records.audit(bare, "orders") == PersistedAudit("orders", 5, 0, 0, 0, 0, 0, (), (), 0)


def test_fields_that_a_newer_version_writes_are_ignored() -> None:
    newer = record_of(b'{"kind":"event","timestamp":5,"system_id":"s","colour":"red"}')

    assert records.event(newer, "orders").system_id == "s"


# -- kinds


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_found_by_the_name_of_its_stream(kind: Kind) -> None:
    assert kind_named(kind.stream) is kind


@pytest.mark.parametrize("name", ["event", "Events", "", None])
def test_an_unknown_kind_is_refused_with_the_names_there_are(name: Any) -> None:
    with pytest.raises(UnknownKind, match="'events', 'audits', 'dead_letters'"):
        kind_named(name)
