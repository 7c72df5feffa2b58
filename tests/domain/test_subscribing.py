"""Settings of a subscription that cannot work are refused by name, with what to give instead."""

from datetime import timedelta
from typing import Any

import pytest

from papyra_streams import InvalidEntryId, InvalidName, InvalidValue, SubscriptionConfig

LONGEST_NAME = 1000
BAD_COUNTS = [0, -1, 1.5, True, "3", 2**63]
BAD_SECONDS = [0, -1, float("nan"), float("inf"), True, "3", timedelta(seconds=1)]
BAD: dict[str, list[object]] = {
    "group": ["", None, 7, b"workers", "\ud800", "x" * (LONGEST_NAME + 1), "x" * 1_000_000],
    "consumer": ["", 7, b"me", "\ud800", "x" * 1_000_000],
    "systems": ["shop", ["shop"], None, ("shop", "shop"), ("",), (7,)],
    "start_id": ["", "newest", "-", "+", "1-", None, 0],
    "concurrency": [*BAD_COUNTS, None],
    "batch_size": BAD_COUNTS,
    "max_deliveries": BAD_COUNTS,
    "timeout": BAD_SECONDS,
    "claim_idle": [*BAD_SECONDS, 0.09, None],
    "backoff": [*BAD_SECONDS, None],
    "backoff_limit": [*BAD_SECONDS, 0.5],
    "ordering": ["", "actors", None, ["actor"]],
    "on_group_lost": ["", "ignore", None],
    "grace": [-1, float("nan"), True, "3", None],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD.items() for value in values],
    ids=lambda each: repr(each)[:20],
)
def test_a_setting_that_cannot_work_is_refused_and_named(name: str, value: Any) -> None:
    said = {"systems": "systems|system_id", "start_id": "is no entry id"}.get(name, name)
    with pytest.raises((InvalidValue, InvalidName, InvalidEntryId), match=said) as caught:
        SubscriptionConfig(**{"group": "workers", name: value})
    assert len(str(caught.value)) < 2 * LONGEST_NAME


@pytest.mark.parametrize(
    "settings",
    [
        {"group": "two words"},
        {"group": "für {alle}:\n*"},
        {"group": "x" * LONGEST_NAME},
        {"consumer": "me"},
        {"systems": ("shop", "warehouse")},
        {"start_id": "$"},
        {"start_id": "1700000000000-3"},
        {"concurrency": 1, "batch_size": 1, "max_deliveries": 1},
        {"claim_idle": 0.1, "backoff": 0.001, "timeout": 0.001},
        {"backoff": 1, "backoff_limit": 1},
        {"grace": 0},
    ],
    ids=repr,
)
def test_the_least_and_the_oddest_that_works_is_taken(settings: dict[str, Any]) -> None:
    cfg = SubscriptionConfig(**{"group": "workers"} | settings)
    assert {name: getattr(cfg, name) for name in settings} == settings


def test_leases_are_renewed_and_searched_for_in_time() -> None:
    for claim_idle in (0.1, 2.0, 3600.0):
        cfg = SubscriptionConfig(group="workers", claim_idle=claim_idle)
        # A renewal may be missed, and another one comes before the lease ends.
        assert cfg.renew_interval <= claim_idle / 3
        assert cfg.sweep_interval <= 1
