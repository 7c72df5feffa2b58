"""Random streams, groups, pending lists and policies: compaction and recovery leave just what a plain model says."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

from .arranging import fields_of, stored
from .plain import PlainEntry, PlainGroup, PlainStream, good, lay_out
from .servers import Server
from .wire import Wire

_OLD, _CUT, _YOUNG = 1000, 500, 100
_BAD = (b"{", b"\xff", b"[]", b'{"kind": "audit", "timestamp": 1.0}', b'{"kind": "event"}', b"")

Action = Literal["compact", "repair", "quarantine", "rebuild"]
_ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one group has done: who was given how many, and which of these, by position, were claimed, and acknowledged.

    A claim counts as another delivery, and may come more than once.
    """

    given: Sequence[tuple[str, int]]
    claimed: Sequence[tuple[str, int]]
    acknowledged: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A stream and what happens to it.

    ``old``, ``young`` -- for each entry the length of a filler, or -1 - n for the nth sort of bad entry
    ``deleted`` -- entries that somebody deletes after all, by position
    """

    old: Sequence[int]
    young: Sequence[int]
    groups: Sequence[Reading]
    deleted: Sequence[int]
    policy: RetentionPolicy
    action: Action


_sizes = st.integers(-len(_BAD), 120)
_readings = st.builds(
    Reading,
    given=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 12)), max_size=4),
    claimed=st.lists(st.tuples(st.sampled_from(["a", "d"]), st.integers(0, 30)), max_size=6),
    acknowledged=st.lists(st.integers(0, 30), max_size=25),
)
cases = st.builds(
    Case,
    old=st.lists(_sizes, max_size=20),
    young=st.lists(_sizes, max_size=20),
    groups=st.lists(_readings, max_size=3),
    deleted=st.lists(st.integers(0, 39), max_size=8),
    policy=st.builds(
        RetentionPolicy,
        max_records=st.none() | st.integers(1, 20),
        max_age_seconds=st.none() | st.just(_CUT),
        max_total_bytes=st.none() | st.integers(100, 4000),
    ),
    action=st.sampled_from(_ACTIONS),
)


@pytest.mark.timeout(300)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases)
def test_what_is_left_is_what_the_rules_say(driver_name: str, server: Server, case: Case) -> None:
    asyncio.run(_check(driver_name, server, case))


async def _check(driver_name: str, server: Server, case: Case) -> None:
    now = time.time()
    config = RedisStreamsConfig(
        url=server.url, prefix=f"plain-{uuid.uuid4().hex}", system_id="orders", driver=driver_name, approx_trim=False
    )
    stream, plain = config.keyspace().stream(Partition(EVENTS)), PlainStream(_entries(case, now))
    backend = RedisStreamsPersistence(config, retention_policy=case.policy)
    async with aclosing(Wire(server.endpoint)) as wire, aclosing(backend):
        await _arrange(wire, stream, plain, case)
        scanned = await backend.scan(full=True, limit=None)
        assert _reported(scanned.anomalies) == _wrong(plain, case.policy, now)
        await _act(backend, case.action)
        _act_plainly(plain, case, now)
        assert await stored(wire, stream) == [entry.id for entry in plain.entries]
        assert await _pending(wire, stream, plain) == _pending_there(plain)
        kept = await fields_of(wire, config.keyspace().quarantine(Partition(EVENTS)))
        assert [fields[-1] for fields in kept] == [entry.data for entry in plain.quarantine[::-1]]
        for key in await wire.keys(f"*{config.prefix}*"):
            await wire("UNLINK", key)


def _entries(case: Case, now: float) -> list[PlainEntry]:
    sizes = [(_OLD, size) for size in case.old] + [(_YOUNG, size) for size in case.young]
    ids = [EntryId(int((now - age) * 1000) + position, position) for position, (age, _) in enumerate(sizes)]
    return [
        good(each, "x" * size) if size >= 0 else PlainEntry(each, _BAD[-1 - size], is_good=False)
        for each, (_, size) in zip(ids, sizes, strict=True)
    ]


async def _arrange(wire: Wire, stream: str, plain: PlainStream, case: Case) -> None:
    await lay_out(wire, stream, plain)
    for number, reading in enumerate(case.groups):
        group = f"group-{number}"
        plain.groups[group] = PlainGroup()
        await wire("XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
        for consumer, count in reading.given:
            plain.give(group, consumer, count)
            await wire("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", stream, ">")
        given_ids = list(plain.groups[group].pending)
        for consumer, position in reading.claimed:
            if position < len(given_ids):
                plain.claim(group, consumer, given_ids[position])
                await wire("XCLAIM", stream, group, consumer, 0, str(given_ids[position]))
        for position in reading.acknowledged:
            if position < len(given_ids):
                plain.groups[group].pending.pop(given_ids[position], None)
                await wire("XACK", stream, group, str(given_ids[position]))
    gone = [plain.entries[position].id for position in case.deleted if position < len(plain.entries)]
    plain.delete(gone)
    for each in gone:
        await wire("XDEL", stream, str(each))


async def _act(backend: RedisStreamsPersistence, action: Action) -> None:
    if action == "compact":
        await backend.compact()
        return
    report = await backend.recover(PersistenceRecoveryConfig(mode=PersistenceRecoveryMode(action)), full=True)
    assert not any(each.obstacle for each in report.rebuilt)
    assert not (await backend.scan(full=True)).has_anomalies


def _act_plainly(plain: PlainStream, case: Case, now: float) -> None:
    if case.action != "compact":
        plain.recover(case.policy, now, quarantining=case.action == "quarantine")
    plain.compact(case.policy, now)


def _reported(anomalies: Sequence[object]) -> set[tuple[str, str]]:
    return {(getattr(each, "group", ""), getattr(each, "entry_id", "")) for each in anomalies}


def _wrong(plain: PlainStream, policy: RetentionPolicy, now: float) -> set[tuple[str, str]]:
    visible = plain.visible(policy, now)
    bad = {("", str(entry.id)) for entry in plain.entries if entry.id in visible and not entry.is_good}
    gone = {
        (name, str(each)) for name, group in plain.groups.items() for each in group.pending if each not in plain.ids
    }
    return bad | gone


async def _pending(wire: Wire, stream: str, plain: PlainStream) -> dict[str, dict[EntryId, tuple[str, int]]]:
    """Return who holds what of the stream, and after how many deliveries: by group, as the server keeps it."""
    there = plain.ids
    found: dict[str, dict[EntryId, tuple[str, int]]] = {}
    for group in plain.groups:
        found[group] = {}
        for row in await wire.rows("XPENDING", stream, group, "-", "+", 1000):
            match row:
                case [bytes(identifier), bytes(consumer), _, int(deliveries)]:
                    found[group][EntryId.parse(identifier.decode())] = consumer.decode(), deliveries
        found[group] = {each: row for each, row in found[group].items() if each in there}
    return found


def _pending_there(plain: PlainStream) -> dict[str, dict[EntryId, tuple[str, int]]]:
    return {
        name: {each: row for each, row in group.pending.items() if each in plain.ids}
        for name, group in plain.groups.items()
    }
