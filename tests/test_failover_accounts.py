"""What the failovers of the contract suite are judged by: an account that sees each kind of wrong."""

import pytest

from papyra_streams_contract.failovers.accounts import Account, Named, settle
from papyra_streams_contract.failovers.orders import Recorded, Summary

ONE, TWO, OTHER = ("local:1", 1), ("local:1", 2), ("local:2", 1)
MILLISECOND = 1_000_000


def account(
    stored: list[Named], received: list[Named] | None = None, *, unconfirmed: tuple[Named, ...] = ()
) -> Account:
    """Settle three records of two actors, of which the first one's come one after another."""
    recorded = [
        Recorded(*each, begun=0, ended=after * MILLISECOND, confirmed=each not in unconfirmed)
        for each, after in ((ONE, 1), (TWO, 2), (OTHER, 502))
    ]
    given = stored if received is None else received
    return settle(Summary(recorded=recorded, received=given), stored)


def wrong(found: Account) -> dict[str, int]:
    """Return what is wrong."""
    names = ("lost", "lost_unconfirmed", "doubled", "out_of_order", "not_received", "received_out_of_order")
    return {name: count for name in names if (count := getattr(found, name))}


@pytest.mark.parametrize("stored", [[ONE, TWO, OTHER], [OTHER, ONE, TWO]])
def test_actors_may_come_in_any_order(stored: list[Named]) -> None:
    found = account(stored)
    assert wrong(found) == {}
    assert found.has_kept_the_promise
    assert (found.confirmed, found.unconfirmed, found.standstill) == (3, 0, 0.5)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([ONE, OTHER], {"lost": 1}),
        ([ONE, TWO, OTHER, TWO], {"doubled": 1}),
        ([TWO, ONE, OTHER], {"out_of_order": 1, "received_out_of_order": 1}),
    ],
)
def test_what_is_wrong_with_a_stream_is_counted(stored: list[Named], expected: dict[str, int]) -> None:
    found = account(stored)
    assert wrong(found) == expected
    assert not found.has_kept_the_promise


def test_what_was_not_confirmed_may_be_lost() -> None:
    found = account([ONE, OTHER], unconfirmed=(TWO,))
    assert wrong(found) == {"lost_unconfirmed": 1}
    assert found.has_kept_the_promise


def test_what_a_subscription_misses_is_counted() -> None:
    assert wrong(account([ONE, TWO, OTHER], [ONE, TWO])) == {"not_received": 1}


def test_what_a_subscription_is_given_first_counts() -> None:
    assert wrong(account([ONE, TWO, OTHER], [ONE, TWO, ONE, TWO, OTHER])) == {}
    assert wrong(account([ONE, TWO, OTHER], [TWO, ONE, TWO, OTHER])) == {"received_out_of_order": 1}


def test_what_was_received_and_is_lost_has_no_order() -> None:
    assert wrong(account([ONE, OTHER], [TWO, ONE, OTHER], unconfirmed=(TWO,))) == {"lost_unconfirmed": 1}
