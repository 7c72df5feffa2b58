"""``papyra-streams scan``."""

import pytest

from .conftest import Client, Commands, good

BAD: dict[str, dict[str, str | bytes]] = {
    "no field 'data'": {"dato": "x"},
    "not UTF-8": {"data": b"\xff"},
    "not JSON": {"data": "{broken"},
    "not a JSON object": {"data": "[1]"},
    "not of kind 'event'": {"data": '{"kind": "audit", "timestamp": 1.0}'},
    "no usable timestamp": {"data": '{"kind": "event"}'},
}


def test_nothing_wrong_is_said_with_status_0(commands: Commands, driver: str) -> None:
    commands.add()
    scanned = commands("scan", driver=driver)
    assert (scanned.status, scanned.out, scanned.err) == (0, "anomalies: 0, entries read: 1\n", "")


def test_each_anomaly_is_counted_and_named_with_status_1(commands: Commands, driver: str) -> None:
    commands.add()
    ids = {reason: commands.put(commands.events, fields) for reason, fields in BAD.items()}
    scanned = commands("scan", driver=driver)
    assert (scanned.status, scanned.err) == (1, "")
    assert scanned.out.startswith("anomalies: 6, entries read: 7\n")
    for reason, entry_id in ids.items():
        assert scanned.row(commands.events, *reason.split(), "-", 1)
        assert f"\n{commands.events}: entry {entry_id}: {reason}\n" in scanned.out


def test_a_reference_to_what_is_gone_is_named_with_its_group(commands: Commands, client: Client) -> None:
    gone = commands.add()
    commands.pending()
    client.xdel(commands.events, gone)
    scanned = commands("scan")
    assert scanned.status == 1
    assert scanned.row(commands.events, "pending,", "but", "no", "longer", "in", "the", "stream", "billing", 1)
    assert f"entry {gone}: pending for the group 'billing', but no longer in the stream" in scanned.out


def test_only_so_many_are_named_as_are_asked_for(commands: Commands) -> None:
    for _ in range(3):
        commands.add("{broken")
    scanned = commands("scan", "--limit", "2")
    assert scanned.out.count(": entry ") == 2
    assert scanned.out.endswith("and 1 more; see them with --limit 3\n")
    assert commands("scan").out.count(": entry ") == 3


def test_only_a_full_scan_reads_behind_the_sample(commands: Commands, client: Client) -> None:
    commands.add("{broken")
    with client.pipeline() as pipeline:
        for _ in range(1000):
            pipeline.xadd(commands.events, {"data": good()})
        pipeline.execute()
    assert commands("scan").status == 0
    assert commands("scan", "--full").out.startswith("anomalies: 1, entries read: 1,001\n")


def test_what_retention_hides_is_no_anomaly(commands: Commands) -> None:
    commands.add("{broken")
    commands.add()
    assert commands("scan").status == 1
    assert commands("scan", "--max-records", "1").status == 0


def test_the_report_is_one_line_of_json(commands: Commands, driver: str) -> None:
    entry_id = commands.add("{broken")
    scanned = commands("scan", "--json", driver=driver)
    assert (scanned.status, scanned.err, scanned.out.count("\n")) == (1, "", 1)
    assert scanned.json == {
        "backend": "papyra-streams",
        "anomalies": [
            {
                "type": "CORRUPTED_LINE",
                "path": commands.events,
                "detail": f"entry {entry_id}: not JSON",
                "entry_id": entry_id,
                "reason": "not JSON",
                "group": "",
            }
        ],
        "counts": [{"stream": commands.events, "reason": "not JSON", "group": "", "count": 1}],
        "warnings": [],
        "examined": 1,
        "found": 1,
    }


def test_a_warning_is_told_with_status_0(commands: Commands) -> None:
    commands.add("{broken")
    commands("recover", "--mode", "quarantine")
    scanned = commands("scan")
    assert scanned.status == 0
    assert f"\nwarning: The quarantine {commands.quarantine} grows: it holds 1," in scanned.out
    (warning,) = commands("scan", "--json").json["warnings"]
    assert (warning["subject"], warning["stream"]) == ("quarantine", commands.quarantine)


@pytest.mark.parametrize("group", ["[red]billing[/]", "bil\x1b[31mling"])
def test_the_name_of_a_group_changes_nothing_on_the_terminal(group: str, commands: Commands, client: Client) -> None:
    gone = commands.add()
    commands.pending(group)
    client.xdel(commands.events, gone)
    scanned = commands("scan")
    assert group.replace("\x1b", "\\x1b") in scanned.out
    assert "\x1b" not in scanned.out
