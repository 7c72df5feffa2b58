"""Scanning and recovering: after a recovery a scan is clean, and every good entry is where it was."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode, PersistenceRecoveryReport

from papyra_streams import StreamAnomaly
from papyra_streams.application.compaction import Compaction
from papyra_streams.application.concerns import Concerns
from papyra_streams.application.inspection import Inspection
from papyra_streams.application.integrity import Integrity
from papyra_streams.application.rebuilding import Rebuilding
from papyra_streams.application.sweeping import Sweeping
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.keys import Keyspace

from .fakes import FakeStore, bad, stored

pytestmark = pytest.mark.anyio

START = 1_700_000_000_000
NOW = START / 1000
KEYS = Keyspace("papyra", "orders")
EVENTS, AUDITS = "papyra:orders:events", "papyra:orders:audits"
QUARANTINE = "papyra:orders:quarantine:{papyra:orders:events}"
IGNORE, REPAIR, CARRY_OFF = (
    PersistenceRecoveryMode.IGNORE,
    PersistenceRecoveryMode.REPAIR,
    PersistenceRecoveryMode.QUARANTINE,
)


def integrity(store: FakeStore, *, sample_size: int = 1000, **limits: int) -> Integrity:
    policy = RetentionPolicy(**limits)
    compaction = Compaction(store, KEYS, policy, lambda: NOW, approximate=False, abandoned_after=None)
    sweeping = Sweeping(store, KEYS, Inspection(store, KEYS, policy, lambda: NOW), lambda: NOW)
    concerns = Concerns(store, KEYS, lambda: NOW, abandoned_after=None)
    return Integrity(KEYS, sweeping, compaction, Rebuilding(store, KEYS), concerns, sample_size=sample_size)


async def recovered(subject: Integrity, mode: PersistenceRecoveryMode) -> PersistenceRecoveryReport:
    return await subject.recover(PersistenceRecoveryConfig(mode=mode))


def lay_out(store: FakeStore, pattern: str) -> None:
    """Fill the stream of events from the oldest entry: ``b`` is a bad one, anything else a good one."""
    store.put(EVENTS, [bad(START + n) if c == "b" else stored("event", START + n) for n, c in enumerate(pattern)])


def pattern_of(store: FakeStore, stream: str = EVENTS) -> str:
    return "".join("b" if payload == b"no json" else "g" for payload in store.payloads(stream))


# -- scan


async def test_a_scan_names_each_bad_entry_and_the_reason(store: FakeStore) -> None:
    lay_out(store, "gbg")
    (found,) = (await integrity(store).scan()).anomalies

    assert isinstance(found, StreamAnomaly)
    assert (found.path, found.entry_id, found.reason) == (EVENTS, f"{START + 1}-0", "not JSON")


async def test_a_scan_looks_into_every_stream(store: FakeStore) -> None:
    for name in ("events", "audits", "dead_letters"):
        store.put(f"papyra:orders:{name}", [bad(START)])

    assert len((await integrity(store).scan()).anomalies) == 3


@pytest.mark.parametrize(("sample_size", "found"), [(1, 0), (2, 1), (3, 1), (4, 2), (100, 2)])
async def test_a_scan_reads_the_newest_so_many(store: FakeStore, sample_size: int, found: int) -> None:
    lay_out(store, "bgbg")
    report = await integrity(store, sample_size=sample_size).scan()

    assert len(report.anomalies) == found
    assert report.examined == min(sample_size, 4)


async def test_a_scan_writes_nothing(store: FakeStore) -> None:
    lay_out(store, "gbg")
    await integrity(store, max_records=1).scan()

    assert pattern_of(store) == "gbg"
    assert store.trims == []


# -- recover


async def test_ignoring_only_scans(store: FakeStore) -> None:
    lay_out(store, "gbg")
    report = await recovered(integrity(store, max_records=2), IGNORE)

    assert (pattern_of(store), len(report.scan.anomalies)) == ("gbg", 1)
    assert (report.repaired_files, report.quarantined_files) == ((), ())


async def test_repairing_deletes_bad_entries(store: FakeStore) -> None:
    lay_out(store, "bgbgb")
    report = await recovered(integrity(store), REPAIR)

    assert pattern_of(store) == "gg"
    assert (report.repaired_files, report.quarantined_files) == ((EVENTS,), ())


async def test_quarantining_moves_them_aside(store: FakeStore) -> None:
    lay_out(store, "bgbgb")
    report = await recovered(integrity(store), CARRY_OFF)

    assert (pattern_of(store), pattern_of(store, QUARANTINE)) == ("gg", "bbb")
    assert (report.repaired_files, report.quarantined_files) == ((EVENTS,), (QUARANTINE,))
    assert store.retired_at == [NOW]


async def test_the_report_shows_what_was_there_before(store: FakeStore) -> None:
    lay_out(store, "gb")

    assert [found.path for found in (await recovered(integrity(store), REPAIR)).scan.anomalies] == [EVENTS]


async def test_a_clean_stream_is_not_in_the_report(store: FakeStore) -> None:
    lay_out(store, "gg")
    store.put(AUDITS, [bad(START)])

    assert (await recovered(integrity(store), REPAIR)).repaired_files == (AUDITS,)


async def test_older_bad_entries_that_move_into_the_sample_are_recovered_too(store: FakeStore) -> None:
    lay_out(store, "g" + "b" * 5 + "gb")
    subject = integrity(store, sample_size=2)
    await recovered(subject, REPAIR)

    assert not (await subject.scan()).has_anomalies


async def test_bad_entries_behind_a_whole_sample_of_good_ones_stay(store: FakeStore) -> None:
    lay_out(store, "bggb")
    await recovered(integrity(store, sample_size=2), REPAIR)

    assert pattern_of(store) == "bgg"


async def test_more_bad_entries_than_fit_one_step_are_recovered(store: FakeStore) -> None:
    lay_out(store, "g" + "b" * 1200)
    await recovered(integrity(store), CARRY_OFF)

    assert (pattern_of(store), len(store.streams[QUARANTINE])) == ("g", 1200)
    assert len(store.retired_at) == 12


async def test_a_recovery_ends_with_a_compaction(store: FakeStore) -> None:
    lay_out(store, "ggbgg")
    await recovered(integrity(store, max_records=2), REPAIR)

    assert store.trims == [(EVENTS, EntryId(START + 3, 0))]
    assert pattern_of(store) == "gg"


@given(st.text("gb", max_size=40), st.integers(1, 10), st.sampled_from([REPAIR, CARRY_OFF]))
def test_after_any_recovery_a_scan_is_clean_and_no_good_entry_is_missing(
    pattern: str, sample_size: int, mode: PersistenceRecoveryMode
) -> None:
    store = FakeStore()
    lay_out(store, pattern)

    async def recover_and_scan() -> None:
        subject = integrity(store, sample_size=sample_size)
        await recovered(subject, mode)
        assert not (await subject.scan()).has_anomalies

    anyio.run(recover_and_scan)

    assert pattern_of(store).count("g") == pattern.count("g")
    if mode is CARRY_OFF:
        assert pattern_of(store).count("b") + len(store.streams[QUARANTINE]) == pattern.count("b")
