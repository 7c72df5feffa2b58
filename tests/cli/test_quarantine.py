"""``papyra-streams quarantine``."""

import json
from pathlib import Path

import pytest

from .conftest import Client, Commands, good

# Not UTF-8, a backslash, and what a terminal would obey.
RAW = b"\xff\\x\x1b[31m"


@pytest.fixture
def ids(commands: Commands) -> list[str]:
    """Have three entries in quarantine, and return their ids there: the newest of the stream comes first."""
    for data in (b"[1]", RAW, b"{broken"):
        commands.add(data)
    assert commands("recover", "--mode", "quarantine").status == 0
    return commands.in_quarantine()


def test_a_list_has_a_row_for_each(commands: Commands, ids: list[str], driver: str) -> None:
    listed = commands("quarantine", "list", "events", driver=driver)
    assert (listed.status, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()[2:]] == ids
    assert "not JSON" in listed.out
    assert "There may be more" not in listed.out


def test_a_list_is_read_page_by_page(commands: Commands, ids: list[str]) -> None:
    listed = commands("quarantine", "list", "events", "--limit", "2")
    assert listed.out.endswith(f"\nThere may be more: --after {ids[1]}\n")
    assert ids[2] not in listed.out
    listed = commands("quarantine", "list", "events", "--after", ids[1])
    assert [line.split()[0] for line in listed.out.splitlines()[2:]] == ids[2:]


@pytest.mark.parametrize("kind", ["audits", "dead_letters"])
def test_an_empty_quarantine_is_said_to_be_empty(kind: str, commands: Commands) -> None:
    listed = commands("quarantine", "list", kind)
    assert (listed.status, listed.out) == (0, f"Nothing of {kind} is in quarantine.\n")


def test_what_somebody_else_put_there_is_listed_as_far_as_it_goes(commands: Commands, client: Client) -> None:
    client.xadd(commands.quarantine, {"reason": "a\n\x1bb", "timestamp": "1e300", "attempts": "many"})
    listed = commands("quarantine", "list", "events")
    assert listed.status == 0
    assert "a\\n\\x1bb" in listed.out
    assert "1e+300" in listed.out


def test_an_entry_is_shown_with_every_byte(commands: Commands, ids: list[str], driver: str) -> None:
    shown = commands("quarantine", "show", "events", ids[1], driver=driver)
    assert (shown.status, shown.err) == (0, "")
    assert f"id: {ids[1]}\nstream: {commands.events}\n" in shown.out
    assert "reason: not UTF-8\n" in shown.out
    assert shown.out.endswith("\nfield data (8 bytes, escaped):\n\\xff\\\\x\\x1b[31m\n")


def test_text_is_shown_as_it_is(commands: Commands) -> None:
    commands.add(dåta='C:\\temp "ünd" [b]')
    commands("recover", "--mode", "quarantine")
    shown = commands("quarantine", "show", "events", *commands.in_quarantine())
    assert shown.out.endswith('\nfield dåta (18 bytes):\nC:\\temp "ünd" [b]\n')


def test_the_data_alone_are_printed_byte_for_byte(commands: Commands, ids: list[str]) -> None:
    assert commands("quarantine", "show", "events", ids[1], "--data").raw == RAW


def test_an_entry_without_data_has_none_to_print(commands: Commands) -> None:
    commands.add(dato="x")
    commands("recover", "--mode", "quarantine")
    shown = commands("quarantine", "show", "events", *commands.in_quarantine(), "--data")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.endswith(" has no field data\n")


def test_mended_data_go_back_into_the_stream(
    commands: Commands, ids: list[str], driver: str, tmp_path: Path, client: Client
) -> None:
    (tmp_path / "mended.json").write_text(good("Mended") + "\n")
    replayed = commands(
        "quarantine", "replay", "events", ids[0], "--data", str(tmp_path / "mended.json"), driver=driver
    )
    ((new_id, fields),) = client.xrange(commands.events)
    assert (replayed.status, replayed.out, replayed.err) == (
        0,
        f"{ids[0]} is appended anew, as {new_id.decode()}\n",
        "",
    )
    assert fields[b"data"].decode() == good("Mended")
    assert commands.in_quarantine() == ids[1:]


def test_mended_data_may_come_from_standard_input(commands: Commands, ids: list[str], client: Client) -> None:
    assert commands("quarantine", "replay", "events", ids[0], "--data", "-", given=good().encode()).status == 0
    assert client.xlen(commands.events) == 1


def test_data_that_no_read_could_return_are_refused(commands: Commands, ids: list[str]) -> None:
    refused = commands("quarantine", "replay", "events", ids[0], "--data", "-", given=b"{broken")
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert refused.err.startswith(f"error: The new data of {ids[0]} would be skipped by reads as well: not JSON.")
    assert commands.in_quarantine() == ids


def test_each_id_is_replayed_whatever_becomes_of_the_others(commands: Commands, ids: list[str]) -> None:
    nothing = commands.put(commands.quarantine, {"reason": "put here by hand"})
    replayed = commands("quarantine", "replay", "events", "1-1", nothing, ids[0], ids[0])
    assert replayed.status == 1
    assert replayed.err.startswith(f"1-1 of events is not in quarantine\n{nothing} stays in quarantine: ")
    assert replayed.out.startswith(f"{ids[0]} is appended anew, as ")
    assert replayed.out.count("\n") == 1
    assert commands.in_quarantine() == [*ids[1:], nothing]


def test_what_a_group_gave_up_is_its_own_again(commands: Commands, client: Client) -> None:
    source = commands.add()
    commands.pending()
    rejected = {"source": commands.events, "id": source, "group": "billing", "attempts": "5", "field:data": good()}
    given_up = commands.put(commands.quarantine, rejected)
    replayed = commands("quarantine", "replay", "events", given_up)
    assert (replayed.status, replayed.out) == (0, f"{given_up} is pending for its group again\n")
    assert client.xlen(commands.events) == 1


@pytest.mark.parametrize("words", [["1-1", "1-2"], []])
def test_data_are_for_exactly_one_id(words: list[str], commands: Commands, tmp_path: Path) -> None:
    refused = commands("quarantine", "replay", "events", *words, "--data", str(tmp_path / "missing"))
    assert (refused.status, refused.out) == (2, "")


def test_a_file_that_is_missing_is_named(commands: Commands, ids: list[str], tmp_path: Path) -> None:
    refused = commands("quarantine", "replay", "events", ids[0], "--data", str(tmp_path / "missing"))
    assert (refused.status, refused.err) == (2, f"error: {tmp_path / 'missing'}: No such file or directory\n")


def test_what_is_dropped_is_gone(commands: Commands, ids: list[str], driver: str) -> None:
    dropped = commands("quarantine", "drop", "events", *ids[:2], "--yes", driver=driver)
    assert (dropped.status, dropped.err) == (0, "")
    assert dropped.out == "".join(f"{each} is dropped\n" for each in ids[:2])
    assert commands.in_quarantine() == ids[2:]


def test_it_asks_before_it_drops(commands: Commands, ids: list[str]) -> None:
    for answer in (b"", b"n\n"):
        kept = commands("quarantine", "drop", "events", ids[0], given=answer)
        assert (kept.status, commands.in_quarantine()) == (1, ids)
        assert f"Remove {ids[0]} of events for good? [y/N]" in kept.err
    assert commands("quarantine", "drop", "events", ids[0], given=b"y\n").status == 0
    assert commands.in_quarantine() == ids[1:]


def test_what_is_not_there_cannot_be_dropped(commands: Commands, ids: list[str]) -> None:
    dropped = commands("quarantine", "drop", "events", "1-1", ids[0], "--yes")
    assert (dropped.status, dropped.err) == (1, "1-1 of events is not in quarantine\n")
    assert commands.in_quarantine() == ids[1:]


def test_an_export_has_a_line_for_each(commands: Commands, ids: list[str], driver: str) -> None:
    exported = commands("quarantine", "export", "events", driver=driver)
    assert (exported.status, exported.err) == (0, "entries written: 3\n")
    rows = [json.loads(line) for line in exported.out.splitlines()]
    assert [row["id"] for row in rows] == ids
    assert rows[0]["fields"] == [["data", "{broken"]]
    assert rows[1]["fields"] == [["data", {"base64": "/1x4G1szMW0="}]]
    assert commands.in_quarantine() == ids


def test_an_export_goes_to_a_file(commands: Commands, ids: list[str], tmp_path: Path) -> None:
    exported = commands("quarantine", "export", "events", "--to", str(tmp_path / "given-up.jsonl"))
    assert (exported.status, exported.out, exported.err) == (0, "", "entries written: 3\n")
    assert len((tmp_path / "given-up.jsonl").read_text().splitlines()) == len(ids)


def test_a_file_that_cannot_be_written_is_named(commands: Commands, tmp_path: Path) -> None:
    refused = commands("quarantine", "export", "events", "--to", str(tmp_path))
    assert (refused.status, refused.err) == (2, f"error: {tmp_path}: Is a directory\n")


@pytest.mark.parametrize("action", ["show", "replay", "drop"])
def test_an_id_that_is_not_there_is_named(action: str, commands: Commands, driver: str) -> None:
    done = commands("quarantine", action, "events", "1-1", *(["--yes"] if action == "drop" else []), driver=driver)
    assert (done.status, done.out, done.err) == (1, "", "1-1 of events is not in quarantine\n")


@pytest.mark.parametrize("action", ["show", "replay", "drop"])
def test_what_is_no_id_is_refused(action: str, commands: Commands) -> None:
    refused = commands("quarantine", action, "events", "yesterday")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("error: 'yesterday' is no entry id; write <milliseconds>-<sequence>")


@pytest.mark.parametrize("action", ["list", "show", "replay", "drop", "export"])
def test_a_kind_that_there_is_not_is_refused(action: str, commands: Commands) -> None:
    ids = [] if action in {"list", "export"} else ["1-1"]
    refused = commands("quarantine", action, "event", *ids)
    assert (refused.status, refused.out) == (2, "")
    assert "There is no kind 'event'; take one of 'events', 'audits', 'dead_letters'." in refused.err
