"""``papyra-streams recover``."""

import pytest

from .conftest import Client, Commands

# More than a rebuild claims anew in one step.
MANY = 10_001


@pytest.fixture
def damaged(commands: Commands, client: Client) -> Commands:
    """Have a good entry, a bad one, and one that is pending and gone."""
    gone = commands.add()
    commands.add("{broken")
    commands.add()
    commands.pending()
    client.xdel(commands.events, gone)
    return commands


def assert_mended(damaged: Commands, out: str) -> None:
    assert out.startswith("mended: 2, entries read: 2\n")
    assert damaged("scan").out.startswith("anomalies: 0, entries read: 1\n")


def test_repair_deletes_what_is_bad(damaged: Commands, driver: str, client: Client) -> None:
    recovered = damaged("recover", "--mode", "repair", driver=driver)
    assert (recovered.status, recovered.err) == (0, "")
    assert_mended(damaged, recovered.out)
    assert recovered.row(damaged.events, "not", "JSON", "-", 1)
    assert recovered.row(damaged.events, "pending,", "but", "no", "longer", "in", "the", "stream", "billing", 1)
    assert "moved to" not in recovered.out
    assert client.xlen(damaged.events) == 1
    assert damaged.in_quarantine() == []


def test_quarantine_moves_what_is_bad(damaged: Commands, driver: str) -> None:
    recovered = damaged("recover", "--mode", "quarantine", driver=driver)
    assert (recovered.status, recovered.err) == (0, "")
    assert_mended(damaged, recovered.out)
    assert f"\nmoved to {damaged.quarantine}\n" in recovered.out
    assert len(damaged.in_quarantine()) == 1


def test_rebuild_tells_the_bytes_before_and_after(commands: Commands, driver: str, client: Client) -> None:
    ids = [commands.add() for _ in range(1000)]
    # One in each node stays.
    client.xdel(commands.events, *(each for number, each in enumerate(ids) if number % 20))
    recovered = commands("recover", "--mode", "rebuild", driver=driver)
    assert (recovered.status, recovered.err) == (0, "")
    assert recovered.out.splitlines()[-3].split() == ["stream", "written", "anew", "records", "bytes", "after"]
    stream, written, records, before, after = recovered.out.splitlines()[-1].split()
    assert (stream, written, records) == (commands.events, "yes", "50")
    assert int(before.replace(",", "")) > 2 * int(after.replace(",", "")) > 0


def test_rebuild_also_deletes_what_is_bad(damaged: Commands) -> None:
    assert_mended(damaged, damaged("recover", "--mode", "rebuild").out)


def test_a_rebuild_that_is_not_done_is_told_with_status_1(commands: Commands, client: Client) -> None:
    fill = "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'data', ARGV[2]) end"
    client.eval(fill, 1, commands.events, str(MANY), '{"kind": "event", "timestamp": 1.0}')
    commands.pending()
    recovered = commands("recover", "--mode", "rebuild")
    assert recovered.status == 1
    assert recovered.out.splitlines()[-2].split()[:3] == [commands.events, "no", f"{MANY:,}"]
    assert recovered.out.splitlines()[-1].startswith(f"{commands.events} was not written anew: more than 10,000 ")


def test_what_retention_removed_is_told(commands: Commands) -> None:
    # A server may keep what shares a node with what stays.
    for _ in range(300):
        commands.add()
    recovered = commands("recover", "--mode", "repair", "--max-records", "1")
    assert recovered.out.startswith("mended: 0, entries read: 1\n")
    stream, before, after, removed, *_ = recovered.out.splitlines()[4].split()
    assert (stream, before) == (commands.events, "300")
    assert int(after) + int(removed) == 300
    assert int(removed) >= 200


def test_the_report_is_one_line_of_json(damaged: Commands) -> None:
    recovered = damaged("recover", "--mode", "rebuild", "--json")
    assert (recovered.status, recovered.err, recovered.out.count("\n")) == (0, "", 1)
    report = recovered.json
    assert report["scan"]["found"] == 2
    assert [(each["reason"], each["count"]) for each in report["recovered"]] == [
        ("not JSON", 1),
        ("pending, but no longer in the stream", 1),
    ]
    assert report["compaction"]["dry_run"] is False
    assert [each["obstacle"] for each in report["rebuilt"]] == [""]
    assert report["repaired_files"] == [damaged.events]


def test_a_second_recovery_finds_nothing(damaged: Commands) -> None:
    damaged("recover", "--mode", "repair", "--full")
    again = damaged("recover", "--mode", "repair", "--full")
    assert (again.status, again.out.splitlines()[0]) == (0, "mended: 0, entries read: 1")


@pytest.mark.parametrize("words", [[], ["--mode", "ignore"], ["--mode", "repiar"]])
def test_a_mode_must_be_given(words: list[str], damaged: Commands, client: Client) -> None:
    refused = damaged("recover", *words)
    assert (refused.status, refused.out) == (2, "")
    for mode in ("repair", "quarantine", "rebuild"):
        assert mode in refused.err
    assert client.xlen(damaged.events) == 2
