"""``--partitions``: what every command does to all of a system's streams."""

import pytest

from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

from .conftest import Commands, good


@pytest.fixture
def third(commands: Commands) -> str:
    """Have a good and a bad entry in the third partition, and return its stream."""
    stream = commands.keys.stream(Partition(EVENTS, 2))
    commands.put(stream, {"data": good()})
    commands.put(stream, {"data": "{broken"})
    return stream


def test_a_scan_goes_through_all_of_them(commands: Commands, third: str) -> None:
    assert commands("scan").out == "anomalies: 0, entries read: 0\n"

    scanned = commands("scan", "--partitions", "3")
    assert scanned.status == 1
    assert scanned.out.startswith("anomalies: 1, entries read: 2\n")
    assert third in scanned.out


def test_a_scan_tells_that_there_were_more(commands: Commands, third: str) -> None:
    scanned = commands("scan", "--partitions", "2")
    assert scanned.status == 0
    assert f"warning: {third} holds 2 records that no read finds" in scanned.out


def test_a_quarantined_entry_is_named_with_its_partition(commands: Commands, third: str) -> None:
    options = ("--partitions", "3")
    assert commands("recover", "--mode", "quarantine", *options).status == 0
    listed = commands("quarantine", "list", "events", *options)
    named = listed.out.splitlines()[2].split()[0]
    assert named.endswith("@2")

    assert f"id: {named}\nstream: {third}\n" in commands("quarantine", "show", "events", named, *options).out
    refused = commands("quarantine", "show", "events", named)
    assert (refused.status, refused.out) == (2, "")
    assert "the partitions of events, counted from 0, are 1." in refused.err
    dropped = commands("quarantine", "drop", "events", named, "--yes", *options)
    assert (dropped.status, dropped.out) == (0, f"{named} is dropped\n")


def test_a_compaction_reports_each_stream(commands: Commands, third: str) -> None:
    compacted = commands("compact", "--partitions", "3", "--max-records", "1")
    assert compacted.status == 0
    assert [line.split()[0] for line in compacted.out.splitlines()[2:9]] == [
        commands.keys.stream(Partition(EVENTS, number)) for number in range(3)
    ] + [f"{commands.keys.namespace}:{name}" for name in ("audits", "dead_letters", "dead_letters:1", "dead_letters:2")]
    assert third in compacted.out


def test_a_number_that_cannot_be_is_told(commands: Commands) -> None:
    refused = commands("scan", "--partitions", "0")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("error: `partitions` must be a whole number from 1 to 256")
