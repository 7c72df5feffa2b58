"""The names of the keys: exactly Papyra's, in one cluster slot per stream, and never shared by two systems."""

from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from papyra_streams.domain.keys import Keyspace, check_name
from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.errors import InvalidName, InvalidValue

SLOTS = 16384
_parts = st.text(st.sampled_from("ab-.é["), min_size=1, max_size=3) | st.sampled_from(
    ["events", "quarantine", "producer", "audits", "1", "2"]
)
_tags = st.sampled_from(["{a}", "{b}", "{a:b}", "a{b}", "{b}a", "{quarantine}"])
_untagged = st.lists(_parts, min_size=1, max_size=4).map(":".join)
_tagged = st.tuples(_parts, _tags, _parts, st.booleans()).map(
    lambda drawn: ":".join(drawn[:3] if drawn[3] else drawn[1:3])
)
_quarantines = st.none() | _untagged
keyspaces = (
    st.builds(Keyspace, _untagged, _parts, _quarantines)
    | st.builds(Keyspace, _tagged | _tags, _parts, _quarantines)
    | st.builds(Keyspace, _untagged, _tags.filter(lambda tag: ":" not in tag), _quarantines)
    | st.builds(Keyspace, _untagged, _parts, _quarantines, st.integers(2, 12))
)
producers = st.uuids().map(lambda unique: unique.hex)


def slot(key: str) -> int:
    """Compute a key's slot as the Redis Cluster specification does (CRC16, XMODEM)."""
    name = key.encode()
    start = name.find(b"{")
    end = name.find(b"}", start + 1)
    if start >= 0 and end > start + 1:
        name = name[start + 1 : end]
    register = 0
    for byte in name:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1) ^ 0x1021 if register & 0x8000 else register << 1
            register &= 0xFFFF
    return register % SLOTS


def keys_of(keyspace: Keyspace, producer: str) -> list[str]:
    return [
        key
        for partition in keyspace.all_partitions
        for key in (
            keyspace.stream(partition),
            keyspace.quarantine(partition),
            keyspace.producer_mark(partition, producer),
        )
    ]


# The servers' own CLUSTER KEYSLOT gave these.
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("123456789", 12739),
        ("foo", 12182),
        ("x{foo}y", 12182),
        ("foo{}", 5542),
        ("foo{}{bar}", 8363),
        ("a{b{c}d}", 15725),
        ("{a:b}:c:events", 2785),
    ],
)
def test_the_slots_of_this_test_are_the_servers(key: str, expected: int) -> None:
    assert slot(key) == expected


@pytest.mark.parametrize(
    ("kind", "key"),
    [(EVENTS, "papyra:local:events"), (AUDITS, "papyra:local:audits"), (DEAD_LETTERS, "papyra:local:dead_letters")],
)
def test_the_streams_have_the_names_papyra_gives_them(kind: Kind, key: str) -> None:
    assert Keyspace("papyra", "local").stream(Partition(kind)) == key


def test_the_first_partition_has_the_key_of_the_whole_and_the_others_are_numbered() -> None:
    keys = Keyspace("papyra", "local", partitions=3)

    assert [keys.stream(partition) for partition in keys.partitions_of(EVENTS)] == [
        "papyra:local:events",
        "papyra:local:events:1",
        "papyra:local:events:2",
    ]
    assert keys.quarantine(Partition(EVENTS, 2)) == "papyra:local:quarantine:{papyra:local:events:2}"


def test_the_partitions_of_a_busy_system_are_spread_over_the_slots() -> None:
    keys = Keyspace("papyra", "local", partitions=16)

    assert len({slot(keys.stream(partition)) for partition in keys.partitions_of(EVENTS)}) == 16


def test_what_belongs_to_a_stream_names_the_stream_as_its_hash_tag() -> None:
    keys = Keyspace("papyra", "local")

    assert keys.quarantine(Partition(EVENTS)) == "papyra:local:quarantine:{papyra:local:events}"
    assert keys.producer_mark(Partition(EVENTS), "1a2b") == "papyra:local:producer:{papyra:local:events}:1a2b"


def test_a_quarantine_prefix_begins_the_quarantine_streams() -> None:
    assert Keyspace("papyra", "local", "bad").quarantine(Partition(AUDITS)) == "bad:{papyra:local:audits}"


def test_a_stream_with_a_hash_tag_of_its_own_carries_it_along() -> None:
    keys = Keyspace("{orders}", "local", "bad")

    assert keys.quarantine(Partition(EVENTS)) == "bad::{orders}:local:events"
    assert keys.producer_mark(Partition(EVENTS), "1a2b") == "{orders}:local:producer::{orders}:local:events:1a2b"


@given(keyspaces, producers)
def test_what_belongs_to_a_stream_lies_in_its_slot(keyspace: Keyspace, producer: str) -> None:
    for partition in keyspace.all_partitions:
        home = slot(keyspace.stream(partition))

        assert slot(keyspace.quarantine(partition)) == home
        assert slot(keyspace.producer_mark(partition, producer)) == home


@given(keyspaces, producers)
def test_a_system_has_a_key_for_each_purpose(keyspace: Keyspace, producer: str) -> None:
    keys = keys_of(keyspace, producer)

    assert len(keys) == 3 * len(keyspace.all_partitions)
    assert len(set(keys)) == len(keys)


@given(keyspaces, keyspaces, producers, producers)
@example(Keyspace("{a}", "b", "bad"), Keyspace("bad:{a}", "b"), "1", "2")
@example(Keyspace("{a}", "b", "bad:x"), Keyspace("x:{a}", "b", "bad"), "1", "2")
@example(Keyspace("a", "b", None, 2), Keyspace("a:b", "events", None, 2), "1", "2")
@example(Keyspace("a", "1", None, 2), Keyspace("a:1:events", "1", None, 2), "1", "2")
def test_two_systems_share_no_key(one: Keyspace, other: Keyspace, mine: str, theirs: str) -> None:
    assume((one.prefix, one.system_id) != (other.prefix, other.system_id))

    assert not {*keys_of(one, mine)} & {*keys_of(other, theirs)}


@pytest.mark.parametrize(
    ("prefix", "system_id"),
    [
        ("", "local"),
        ("papyra", ""),
        (":papyra", "local"),
        ("papyra:", "local"),
        ("a::b", "local"),
        ("papyra", "b:c"),
        ("papyra", ":"),
        ("papyra\n", "local"),
        ("papyra", "lo\x00cal"),
        ("papyra", "\x7f"),
        ("papyra", "\ud800"),
        ("{papyra", "local"),
        ("papyra}", "local"),
        ("{}", "local"),
        ("papyra{}", "local"),
        ("{{papyra}}", "local"),
        ("{a}{b}", "local"),
        ("{a}", "{b}"),
        ("{a", "b}"),
        (None, "local"),
        ("papyra", 7),
        (b"papyra", "local"),
    ],
)
def test_a_name_that_could_move_or_share_a_key_is_refused(prefix: Any, system_id: Any) -> None:
    with pytest.raises(InvalidName):
        Keyspace(prefix, system_id)


@pytest.mark.parametrize("quarantine_prefix", ["", "bad:", "{bad}", "bad\t", 1])
def test_a_quarantine_prefix_that_could_move_a_key_is_refused(quarantine_prefix: Any) -> None:
    with pytest.raises(InvalidName, match="quarantine_prefix"):
        Keyspace("papyra", "local", quarantine_prefix)


@pytest.mark.parametrize("name", ["", None, 7, b"billing", "\ud800"])
def test_a_group_needs_a_name_that_can_be_sent(name: Any) -> None:
    with pytest.raises(InvalidName, match="group"):
        check_name("group", name)


@pytest.mark.parametrize("name", ["billing", "a:b", "{a}", "é", " "])
def test_a_group_may_have_any_other_name(name: str) -> None:
    check_name("group", name)


@pytest.mark.parametrize("partitions", [0, -1, 257, True, 1.0, "4", None])
def test_a_number_of_partitions_that_cannot_be_is_refused(partitions: Any) -> None:
    with pytest.raises(InvalidValue, match="`partitions` must be a whole number from 1 to 256"):
        Keyspace("papyra", "local", partitions=partitions)


@pytest.mark.parametrize(("prefix", "system_id"), [("{papyra}", "local"), ("papyra", "{local}")])
def test_a_hash_tag_would_put_all_partitions_in_one_slot_and_is_refused(prefix: str, system_id: str) -> None:
    Keyspace(prefix, system_id, partitions=1)
    with pytest.raises(InvalidName, match="hash tag"):
        Keyspace(prefix, system_id, partitions=2)
