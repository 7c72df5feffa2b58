"""What a recovery put in quarantine: looked at whole, mended, put back, exported."""

import io
import json

import pytest

from papyra_streams import InvalidValue, RedisStreamsPersistence

from .arranging import fields_of
from .backends import QUARANTINE, damage, numbers
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def test_a_quarantined_entry_is_shown_with_all_its_fields(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await wire("XADD", stream, "7-3", b"\xff", b"\x00", "data", "{", "same", "1", "same", "2")
    await backend.recover(QUARANTINE)
    (listed,) = await backend.quarantine_list(kind="events")

    assert await backend.quarantine_show(kind="events", id=listed.id) == listed
    assert (listed.stream, listed.source_id, listed.reason, listed.data) == (stream, "7-3", "not JSON", b"{")
    assert listed.fields == ((b"\xff", b"\x00"), (b"data", b"{"), (b"same", b"1"), (b"same", b"2"))
    assert await backend.quarantine_show(kind="events", id="1-0") is None


async def test_a_mended_entry_comes_back_for_everybody(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    data = b'{"kind": "event", "timestamp": 1.0, "payload": {"number": 7}'
    await wire("XADD", stream, "7-3", "note", "mine", "data", data)
    await backend.recover(QUARANTINE)
    (listed,) = await backend.quarantine_list(kind="events")
    report = await backend.quarantine_replay(
        kind="events", ids=[listed.id], mend=lambda entry: (entry.data or b"") + b"}"
    )

    assert list(report.appended) == [listed.id]
    assert await numbers(backend) == [7]
    (fields,) = await fields_of(wire, stream)
    assert fields == [b"replay_of", b"7-3", b"note", b"mine", b"data", data + b"}"]
    assert await backend.quarantine_list(kind="events") == ()


async def test_new_data_takes_the_place_of_all_there_was(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await wire("XADD", stream, "7-3", "data", "{", "note", "mine", "data", "]")
    await backend.recover(QUARANTINE)
    (listed,) = await backend.quarantine_list(kind="events")
    mended = b'{"kind": "event", "timestamp": 1.0, "payload": {"number": 9}}'
    await backend.quarantine_replay(kind="events", ids=[listed.id], mend=lambda _: mended)

    assert await numbers(backend) == [9]
    assert await fields_of(wire, stream) == [[b"replay_of", b"7-3", b"note", b"mine", b"data", mended]]


async def test_a_mend_that_is_no_function_is_refused(backend: RedisStreamsPersistence) -> None:
    with pytest.raises(InvalidValue, match="mend"):
        await backend.quarantine_replay(kind="events", ids=["1-0"], mend=b"{}")  # type: ignore[arg-type]


async def test_an_entry_without_data_can_be_given_some(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await wire("XADD", stream, "7-3", "date", "{}")
    await backend.recover(QUARANTINE)
    (listed,) = await backend.quarantine_list(kind="events")
    mended = b'{"kind": "event", "timestamp": 1.0, "payload": {"number": 8}}'
    await backend.quarantine_replay(kind="events", ids=[listed.id], mend=lambda _: mended)

    assert await numbers(backend) == [8]


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"kind": "audit", "timestamp": 1.0}', "text"])
async def test_what_reads_would_skip_again_is_no_mend(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, data: bytes
) -> None:
    await damage(wire, stream, [b"{"])
    await backend.recover(QUARANTINE)
    (listed,) = await backend.quarantine_list(kind="events")

    with pytest.raises(InvalidValue):
        await backend.quarantine_replay(kind="events", ids=[listed.id], mend=lambda _: data)
    assert await backend.quarantine_list(kind="events") == (listed,)


async def test_a_quarantine_is_exported_line_by_line(backend: RedisStreamsPersistence, wire: Wire, stream: str) -> None:
    for number in range(120):
        await wire("XADD", stream, f"{number + 1}-0", "data", "ü", b"\xfe", b"\xff")
    await backend.recover(QUARANTINE)
    file = io.BytesIO()

    assert await backend.quarantine_export(kind="events", to=file) == 120
    rows = [json.loads(line) for line in file.getvalue().splitlines()]
    assert sorted(row["source_id"] for row in rows) == sorted(f"{number + 1}-0" for number in range(120))
    assert rows[0]["fields"] == [["data", "ü"], [{"base64": "/g=="}, {"base64": "/w=="}]]
    assert len(await backend.quarantine_list(kind="events", limit=None)) == 120
