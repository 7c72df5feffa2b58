"""The settings: Papyra's own in Papyra's order, checked at once, and the driver."""

import dataclasses
import math
from typing import Any

import pytest
from papyra.persistence.backends import redis as papyra_redis

from papyra_streams import RedisConsumerGroupConfig, RedisStreamEntry, RedisStreamsConfig, errors
from papyra_streams.config import DRIVER_VARIABLE
from papyra_streams.domain.entries import check_start
from papyra_streams.errors import ConfigurationError, InvalidEntryId, InvalidName, InvalidUrl, InvalidValue


def described(cls: Any) -> list[tuple[str, Any]]:
    """Return the fields of a dataclass in order, with their defaults."""
    return [(field.name, field.default) for field in dataclasses.fields(cls)]


# -- the same as Papyra's


def test_papyras_settings_come_first_in_its_order_and_with_its_defaults() -> None:
    papyras = described(papyra_redis.RedisStreamsConfig)

    assert described(RedisStreamsConfig)[: len(papyras)] == papyras


@pytest.mark.parametrize(
    ("ours", "papyras"),
    [
        (RedisConsumerGroupConfig, papyra_redis.RedisConsumerGroupConfig),
        (RedisStreamEntry, papyra_redis.RedisStreamEntry),
    ],
)
def test_a_consumers_settings_and_entries_are_papyras(ours: Any, papyras: Any) -> None:
    assert described(ours) == described(papyras)


def test_settings_given_by_position_mean_what_they_mean_to_papyra() -> None:
    values: list[Any] = ["redis://server/1", "prefix", "system", 10, 20, False, "bad"]
    ours, papyras = RedisStreamsConfig(*values), papyra_redis.RedisStreamsConfig(*values)

    assert [getattr(ours, name) for name, _ in described(papyras)] == values


def test_settings_with_the_same_values_are_equal() -> None:
    assert RedisStreamsConfig() == RedisStreamsConfig()


def test_settings_do_not_change_once_they_are_checked() -> None:
    config: Any = RedisStreamsConfig()

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.url = "redis://elsewhere"


# -- what is refused


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("url", "", InvalidUrl),
        ("url", "http://localhost", InvalidUrl),
        ("url", None, InvalidUrl),
        ("prefix", "", InvalidName),
        ("prefix", "a::b", InvalidName),
        ("system_id", "a:b", InvalidName),
        ("system_id", None, InvalidName),
        ("quarantine_prefix", "", InvalidName),
        ("partitions", 0, InvalidValue),
        ("partitions", 257, InvalidValue),
        ("partitions", True, InvalidValue),
        ("partitions", "4", InvalidValue),
        ("quarantine_prefix", " bad", InvalidName),
        ("prefix", " ", InvalidName),
        ("prefix", " papyra", InvalidName),
        ("prefix", "papyra\u00a0", InvalidName),
        ("prefix", "a: :b", InvalidName),
        ("system_id", "  ", InvalidName),
        ("system_id", "local ", InvalidName),
        ("approx_trim", 0, InvalidValue),
        ("approx_trim", "no", InvalidValue),
        ("approx_trim", None, InvalidValue),
        ("scan_sample_size", 0, InvalidValue),
        ("scan_sample_size", -1, InvalidValue),
        ("scan_sample_size", 1.5, InvalidValue),
        ("scan_sample_size", True, InvalidValue),
        ("scan_sample_size", None, InvalidValue),
        ("max_read", 0, InvalidValue),
        ("max_read", "50000", InvalidValue),
        ("driver", "", InvalidValue),
        ("driver", None, InvalidValue),
        ("connect_timeout", 0, InvalidValue),
        ("connect_timeout", -1.0, InvalidValue),
        ("connect_timeout", math.nan, InvalidValue),
        ("connect_timeout", math.inf, InvalidValue),
        ("connect_timeout", 10**400, InvalidValue),
        ("command_timeout", math.inf, InvalidValue),
        ("connect_timeout", "5", InvalidValue),
        ("connect_timeout", True, InvalidValue),
        ("command_timeout", 0, InvalidValue),
        ("command_timeout", None, InvalidValue),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_its_name(setting: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"`{setting}`") as caught:
        RedisStreamsConfig(**{setting: value})

    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("group", "", InvalidName),
        ("group", None, InvalidName),
        ("consumer", "", InvalidName),
        ("consumer", 1, InvalidName),
        ("consumer", "\ud800", InvalidName),
        ("count", 0, InvalidValue),
        ("count", True, InvalidValue),
        ("count", 2.0, InvalidValue),
        ("count", 2**31, InvalidValue),
        ("count", 2**70, InvalidValue),
        ("block_ms", 2**31, InvalidValue),
        ("block_ms", -1, InvalidValue),
        ("block_ms", 0.5, InvalidValue),
        ("block_ms", False, InvalidValue),
        ("start_id", "", InvalidEntryId),
        ("start_id", ">", InvalidEntryId),
        ("start_id", "yesterday", InvalidEntryId),
        ("start_id", None, InvalidEntryId),
    ],
)
def test_a_consumers_setting_that_cannot_be_used_is_refused(setting: str, value: Any, error: type[Exception]) -> None:
    settings: dict[str, Any] = {"group": "billing", "consumer": "one"} | {setting: value}

    with pytest.raises(error):
        RedisConsumerGroupConfig(**settings)


def test_a_consumers_numbers_may_be_large() -> None:
    cfg = RedisConsumerGroupConfig("billing", "one", count=2**31 - 1, block_ms=2**31 - 1)

    assert (cfg.count, cfg.block_ms) == (2**31 - 1, 2**31 - 1)


def test_how_much_is_read_at_most_has_no_limit_because_it_is_read_in_pages() -> None:
    assert RedisStreamsConfig(max_read=2**70, scan_sample_size=2**70).max_read == 2**70


def test_a_name_may_have_a_blank_within() -> None:
    assert RedisStreamsConfig(prefix="our orders").prefix == "our orders"


@pytest.mark.parametrize("block_ms", [None, 0, 1, 60_000])
def test_a_consumer_may_wait_for_ever_for_a_while_or_not_at_all(block_ms: int | None) -> None:
    assert RedisConsumerGroupConfig("billing", "one", block_ms=block_ms).block_ms == block_ms


@pytest.mark.parametrize("start_id", ["0", "$", "1700000000000-0", "1700000000000"])
def test_a_group_may_begin_at_either_end_or_after_an_entry(start_id: str) -> None:
    check_start(start_id)


# -- the driver


def test_without_any_choice_the_driver_is_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DRIVER_VARIABLE, raising=False)

    assert RedisStreamsConfig().driver == "redis"


def test_the_environment_chooses_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPYRA_STREAMS_DRIVER", "coredis")

    assert RedisStreamsConfig().driver == "coredis"


def test_an_empty_variable_chooses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPYRA_STREAMS_DRIVER", "")

    assert RedisStreamsConfig().driver == "redis"


def test_what_the_code_names_counts_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPYRA_STREAMS_DRIVER", "coredis")

    assert RedisStreamsConfig(driver="valkey").driver == "valkey"


# -- what is shown


def test_the_settings_show_themselves_without_the_password() -> None:
    shown = repr(RedisStreamsConfig("redis://ops:s3cret@server/0", driver="redis"))

    assert "'redis://ops:***@server/0'" in shown
    assert "s3cret" not in shown


def test_the_settings_show_every_setting() -> None:
    shown = repr(RedisStreamsConfig())

    assert all(f"{name}=" in shown for name, _ in described(RedisStreamsConfig))


# -- the errors


def test_every_error_is_a_streams_error_with_a_code() -> None:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds = [kind for kind in found if issubclass(kind, errors.StreamsError)]

    assert kinds == found
    assert all(kind("It failed.", code="ERR").code == "ERR" for kind in kinds)


def test_an_error_says_what_to_do() -> None:
    assert str(errors.OutOfMemory("The server is full.")) == (
        "The server is full. Raise maxmemory, or compact the streams."
    )
