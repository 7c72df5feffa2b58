"""What an entry of a quarantine says, also one that somebody else put there."""

from collections.abc import Mapping

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papyra_streams.domain.entries import EntryId, RawEntry
from papyra_streams.domain.groups import QuarantinedEntry
from papyra_streams.domain.quarantine import exported, quarantined

ID = EntryId(1_700_000_000_500, 2)

NOTHING = QuarantinedEntry(
    id="1700000000500-2",
    stream="",
    source_id="",
    reason="",
    quarantined_at=1_700_000_000.5,
    group="",
    attempts=0,
    error="",
    fields=(),
)


def raw(fields: Mapping[bytes, bytes]) -> RawEntry:
    """Return an entry with these fields."""
    return RawEntry(ID, tuple(fields.items()))


def packed(*words: bytes) -> bytes:
    """Pack a list as the server's `cmsgpack` does: bytes as strings, with the shortest head."""
    return msgspec.msgpack.encode([msgspec.Raw(_string(word)) for word in words])


def _string(word: bytes) -> bytes:
    if len(word) < 32:
        return bytes([0xA0 | len(word)]) + word
    for mark, width in ((0xD9, 1), (0xDA, 2), (0xDB, 4)):
        if len(word) < 256**width:
            return bytes([mark]) + len(word).to_bytes(width, "big") + word
    raise AssertionError(len(word))


def test_what_a_group_gave_up_says_who_and_why() -> None:
    fields = {
        b"source": b"papyra:orders:events",
        b"id": b"1600000000000-7",
        b"reason": b"rejected: f\xc3\xbcr immer",
        b"timestamp": b"1700000000.25",
        b"group": b"billing",
        b"attempts": b"5",
        b"error": b"ValueError: no",
        b"field:data": b"{}\xff",
    }

    assert quarantined(raw(fields)) == QuarantinedEntry(
        id="1700000000500-2",
        stream="papyra:orders:events",
        source_id="1600000000000-7",
        reason="rejected: für immer",
        quarantined_at=1_700_000_000.25,
        group="billing",
        attempts=5,
        error="ValueError: no",
        fields=((b"data", b"{}\xff"),),
    )


@pytest.mark.parametrize("fields", [{}, {b"x": b"y"}, {b"data": b"not its own"}])
def test_an_entry_that_says_nothing_is_shown_by_its_id(fields: dict[bytes, bytes]) -> None:
    assert quarantined(raw(fields)) == NOTHING


@pytest.mark.parametrize("timestamp", [b"", b"today", b"nan", b"inf", b"-inf", b"1e999", b"\xff"])
def test_a_time_that_is_none_is_taken_from_the_id(timestamp: bytes) -> None:
    assert quarantined(raw({b"timestamp": timestamp})).quarantined_at == ID.seconds


@pytest.mark.parametrize("attempts", [b"", b"many", b"-3", b"1.5", b" 4", b"9" * 5000, "٣".encode()])
def test_attempts_that_are_no_number_are_0(attempts: bytes) -> None:
    assert quarantined(raw({b"attempts": attempts})).attempts == 0


def test_text_that_is_not_utf8_is_shown_as_far_as_it_is() -> None:
    shown = quarantined(raw({b"reason": b"no \xff", b"group": b"\xfe", b"id": b"\x80-1", b"error": b"\xff"}))

    assert (shown.reason, shown.group, shown.source_id, shown.error) == ("no �", "�", "�-1", "�")


@pytest.mark.parametrize("length", [0, 1, 31, 32, 255, 256, 65_535, 65_536])
def test_the_data_of_a_wide_entry_is_unpacked_byte_for_byte(length: int) -> None:
    data = b"\xff" * length
    fields = packed(b"first", b"1", b"data", data, b"last" * 100, b"\x00")

    assert quarantined(raw({b"fields": fields})).data == data


def test_a_wide_entry_without_data_has_none() -> None:
    assert quarantined(raw({b"fields": packed(b"x", b"data", b"y", b"2")})).data is None


@pytest.mark.parametrize(
    "fields", [b"", b"\x05", b"\x81\x01\x02", b"\x95\xa1a", b"\x92\x01\x02", b"\xc1", packed(b"data"), b"text"]
)
def test_packed_fields_that_are_none_break_nothing(fields: bytes) -> None:
    assert quarantined(raw({b"fields": fields})) == NOTHING


def test_fields_of_one_name_are_all_kept_and_the_last_one_counts() -> None:
    fields = ((b"field:data", b"1"), (b"field:", b""), (b"field:data", b"2"))
    entry = quarantined(RawEntry(ID, fields))

    assert entry.fields == ((b"data", b"1"), (b"", b""), (b"data", b"2"))
    assert entry.data == b"2"


def test_an_entry_is_exported_as_json_takes_it() -> None:
    row = exported(quarantined(raw({b"reason": b"not JSON", b"field:data": "ü".encode(), b"field:\xff": b"\x00\xff"})))

    assert row["reason"] == "not JSON"
    assert row["fields"] == [["data", "ü"], [{"base64": "/w=="}, {"base64": "AP8="}]]
    assert orjson.loads(orjson.dumps(row)) == row


@given(
    st.dictionaries(
        st.sampled_from([b"id", b"reason", b"timestamp", b"group", b"attempts", b"error", b"fields", b"field:data"]),
        st.binary(max_size=40),
    )
)
def test_no_entry_breaks_the_listing(fields: dict[bytes, bytes]) -> None:
    assert quarantined(raw(fields)).id == NOTHING.id
