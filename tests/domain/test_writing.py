"""How records are to be written: every setting is checked at once, and says what it takes."""

from pathlib import Path
from typing import Any

import pytest

from papyra_streams import InvalidValue, RedisStreamsConfig, WritePolicy


def test_by_default_nothing_has_to_be_set() -> None:
    policy = WritePolicy()

    assert (policy.fsync, policy.replicas, policy.spool_path) == (False, 0, None)


@pytest.mark.parametrize(
    ("durability", "fsync", "replicas"),
    [("memory", False, 0), ("fsync", True, 0), ("replicas=1", False, 1), ("replicas=12", False, 12)],
)
def test_durability_is_one_word(durability: str, fsync: object, replicas: int) -> None:
    policy = WritePolicy(durability=durability)

    assert (policy.fsync, policy.replicas) == (fsync, replicas)


def test_a_record_waits_less_long_where_there_is_a_spool() -> None:
    assert WritePolicy().patience(has_spool=False) > WritePolicy().patience(has_spool=True)
    assert WritePolicy(queue_seconds=7).patience(has_spool=True) == 7


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("durability", "disk"),
        ("durability", "replicas=0"),
        ("durability", "replicas"),
        ("durability", 2),
        ("durability_timeout", 0),
        ("on_shortfall", "raise"),
        ("linger", -1),
        ("linger", False),
        ("queue_records", 0),
        ("queue_records", True),
        ("queue_records", 1.5),
        ("queue_bytes", -1),
        ("queue_seconds", 0),
        ("queue_seconds", "1"),
        ("queue_seconds", float("nan")),
        ("backoff", 0),
        ("backoff_limit", float("inf")),
        ("spool_dir", ""),
        ("spool_dir", 5),
        ("spool_dir", b"/spool"),
        ("spool_bytes", 0),
        ("close_timeout", 0),
        ("close_timeout", None),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=f"`{setting}` must be .*{value!r}"):
        WritePolicy(**{setting: value})


def test_records_need_not_wait_for_company() -> None:
    assert WritePolicy(linger=0).linger == 0


def test_the_first_wait_is_not_longer_than_the_longest() -> None:
    with pytest.raises(InvalidValue, match="`backoff`"):
        WritePolicy(backoff=3.0)


def test_the_policy_is_part_of_the_settings() -> None:
    with pytest.raises(InvalidValue, match="`write_policy` must be a WritePolicy, not dict"):
        RedisStreamsConfig(write_policy={"spool_dir": "/spool"})  # type: ignore[arg-type]


def test_each_system_has_a_spool_of_its_own(tmp_path: Path) -> None:
    policy = WritePolicy(spool_dir=tmp_path)
    paths = {
        RedisStreamsConfig(prefix=prefix, system_id=system, write_policy=policy).spool_path()
        for prefix, system in [("papyra", "orders"), ("papyra", "stock"), ("a/b", "orders"), ("a%2Fb", "orders")]
    }

    assert len(paths) == 4
    assert {path and path.parent for path in paths} == {tmp_path}
    assert RedisStreamsConfig().spool_path() is None


def test_a_server_that_moved_keeps_its_spool(tmp_path: Path) -> None:
    policy = WritePolicy(spool_dir=tmp_path)
    old, new = (RedisStreamsConfig(url=f"redis://{host}", write_policy=policy) for host in ("old", "new"))

    assert old.spool_path() == new.spool_path()
