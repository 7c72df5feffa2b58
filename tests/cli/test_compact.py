"""``papyra-streams compact``."""

from .conftest import Client, Commands

# With fewer the server keeps them all, in one node.
COUNT = 300


def fill(commands: Commands) -> list[str]:
    return [commands.add() for _ in range(COUNT)]


def test_what_is_old_goes(commands: Commands, driver: str, client: Client) -> None:
    fill(commands)
    compacted = commands("compact", "--max-records", "100", driver=driver)
    assert (compacted.status, compacted.err) == (0, "")
    assert compacted.out.splitlines()[0].split() == ["stream", "records", "after", "removed", "bytes", "after"]
    stream, before, after, removed, bytes_before, bytes_after = compacted.out.splitlines()[2].split()
    assert (stream, before) == (commands.events, "300")
    # The server removes whole nodes.
    assert 100 <= int(after) == COUNT - int(removed) <= 200
    assert int(bytes_before.replace(",", "")) > int(bytes_after.replace(",", ""))
    assert client.xlen(commands.events) == int(after)


def test_a_dry_run_removes_nothing(commands: Commands, driver: str, client: Client) -> None:
    fill(commands)
    compacted = commands("compact", "--dry-run", "--max-records", "100", driver=driver)
    assert (compacted.status, compacted.err) == (0, "")
    assert "would go" in compacted.out
    assert compacted.out.splitlines()[2].split()[:4] == [commands.events, "300", "100", "200"]
    assert client.xlen(commands.events) == COUNT


def test_who_holds_it_back_is_named(commands: Commands, driver: str) -> None:
    first, *_ = fill(commands)
    commands.pending()
    compacted = commands("compact", "--max-records", "100", driver=driver)
    assert compacted.status == 0
    assert compacted.out.splitlines()[2].split()[3] == "0"
    assert (
        f"{commands.events}: held back by the group 'billing', which has yet to acknowledge {first}"
        " (given to 'worker-1', "
    ) in compacted.out


def test_a_group_that_was_given_nothing_is_named(commands: Commands, client: Client) -> None:
    fill(commands)
    client.xgroup_create(commands.events, "billing", id="0")
    assert " (given to nobody, " in commands("compact", "--dry-run", "--max-records", "100").out


def test_what_was_let_go_of_is_nobodys(commands: Commands) -> None:
    fill(commands)
    commands.pending(consumer="papyra-streams:released")
    assert " (let go of, " in commands("compact", "--dry-run", "--max-records", "100").out


def test_without_retention_it_says_that_nothing_is_old(commands: Commands) -> None:
    fill(commands)
    compacted = commands("compact")
    assert compacted.status == 0
    assert compacted.out.startswith("No retention is set, so nothing is old.")
    assert "No retention" not in commands("compact", "--max-age-seconds", "60").out


def test_the_report_is_one_line_of_json(commands: Commands) -> None:
    first, *_ = fill(commands)
    commands.pending()
    compacted = commands("compact", "--max-total-bytes", "1", "--dry-run", "--json")
    assert (compacted.status, compacted.err, compacted.out.count("\n")) == (0, "", 1)
    report = compacted.json
    assert (report["dry_run"], report["before_records"], report["removed_records"]) == (True, COUNT, 0)
    held = report["streams"][0]["held_back"]
    assert (held["group"], held["needs"], held["consumer"]) == ("billing", first, "worker-1")
