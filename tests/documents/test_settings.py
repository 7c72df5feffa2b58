"""The documents name every setting and every counter there is."""

import dataclasses
import re
from pathlib import Path

import pytest
from papyra.persistence.metrics import PersistenceMetrics

from papyra_streams import (
    ConsumerStatus,
    GroupStatus,
    QuarantinedEntry,
    RedisConsumerGroupConfig,
    RedisStreamsConfig,
    ReplayReport,
    StreamsMetrics,
    SubscriptionConfig,
    WritePolicy,
    WriteStats,
)

PAGES = Path(__file__).parents[2] / "docs" / "pages"
NAME = re.compile(r"`([a-z_]+)`")


def names_in_tables(page: str) -> list[str]:
    """Return the names in the first column of a page's tables, in order."""
    rows = [line.split("|")[1] for line in (PAGES / page).read_text(encoding="utf-8").splitlines() if "|" in line]
    return [name for row in rows for name in NAME.findall(row)]


def fields_of(model: type) -> list[str]:
    return [field.name for field in dataclasses.fields(model)]


@pytest.mark.parametrize(
    ("model", "page"),
    [
        (RedisStreamsConfig, "configuration.md"),
        (WritePolicy, "configuration.md"),
        (RedisConsumerGroupConfig, "consumer-groups.md"),
        (SubscriptionConfig, "subscriptions.md"),
    ],
)
def test_every_setting_has_a_row_and_they_stand_in_order(model: type, page: str) -> None:
    assert [name for name in names_in_tables(page) if name in fields_of(model)] == fields_of(model)


def test_every_counter_of_ours_has_a_row() -> None:
    ours = set(fields_of(StreamsMetrics)) - set(fields_of(PersistenceMetrics))
    assert ours <= {*names_in_tables("writing.md"), *names_in_tables("subscriptions.md")}


@pytest.mark.parametrize(
    ("name", "page"),
    [
        *((name, "writing.md") for name in fields_of(WriteStats)),
        *(
            (name, "subscriptions.md")
            for model in (GroupStatus, ConsumerStatus, QuarantinedEntry, ReplayReport)
            for name in fields_of(model)
        ),
    ],
)
def test_every_figure_that_is_told_is_named(name: str, page: str) -> None:
    assert re.search(rf"\b{name}\b", (PAGES / page).read_text(encoding="utf-8"))
