"""What was measured, as Markdown."""

from collections.abc import Sequence
from statistics import median

from .accounts import Account
from .plan import Case

_COLUMNS = (
    "servers",
    "durability",
    "what happens",
    "kills",
    "records",
    "confirmed",
    "confirmed, and lost",
    "not confirmed, and lost",
    "doubled",
    "out of order",
    "not received",
    "received out of order",
    "stood still: median",
    "longest",
)


def head() -> str:
    """Return the first lines of the table."""
    return f"{_line(_COLUMNS)}\n{_line(['---'] * len(_COLUMNS))}"


def row(case: Case, accounts: Sequence[Account]) -> str:
    """Return the line of one case."""
    confirmed = sum(each.confirmed for each in accounts)
    still = [each.standstill for each in accounts]
    return _line(
        (
            _servers(case),
            f"`{case.durability}`",
            (type(case.fault).__doc__ or "").rstrip("."),
            len(accounts),
            confirmed + sum(each.unconfirmed for each in accounts),
            confirmed,
            _count([each.lost for each in accounts]),
            _count([each.lost_unconfirmed for each in accounts]),
            _count([each.doubled for each in accounts]),
            _count([each.out_of_order for each in accounts]),
            _count([each.not_received for each in accounts]),
            _count([each.received_out_of_order for each in accounts]),
            f"{median(still):.1f} s",
            f"{max(still):.1f} s",
        )
    )


def _servers(case: Case) -> str:
    replicas = "1 replica" if case.replicas == 1 else f"{case.replicas} replicas"
    settings = "".join(f", `{name} {value}`" for name, value in case.settings.items())
    return f"{case.topology}, {replicas}{settings}"


def _count(counts: Sequence[int]) -> str:
    found = [count for count in counts if count]
    return f"{sum(found)}, in {len(found)} of {len(counts)} kills" if found else "0"


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
