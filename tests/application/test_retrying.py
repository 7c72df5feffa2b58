"""What is sent again, after which error, how often; and what never is."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from papyra_streams import errors
from papyra_streams.application import retrying
from papyra_streams.application.retrying import RetryingStore
from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import Indeterminate, OutOfMemory, Unavailable
from papyra_streams.ports import Abandonment, BadEntry, DeadEntry, Member, ProducerMark, StreamStore

from .fakes import FakeStore

pytestmark = pytest.mark.anyio

ID = EntryId(1, 0)
MARK = ProducerMark(key="mark", first=1, lifetime=60)
MEMBER = Member(stream="s", group="g", consumer="c", state="a", pause="b", leader="l")
DEAD = DeadEntry(id=ID, attempts=2, reason="poison", error="no")
ABANDONMENT = Abandonment(after_ms=5, notes="n")
ATTEMPTS = 7

Call = tuple[tuple[Any, ...], dict[str, Any]]

REPEATABLE: dict[str, Call] = {
    "newest": (("s",), {"count": 1, "before": ID}),
    "oldest": (("s",), {"count": 1, "after": ID}),
    "count": (("s",), {"before": ID}),
    "length": (("s",), {}),
    "memory": (("s",), {}),
    "acknowledge": (("s", "g", [ID]), {}),
    "pending": (("s", "g"), {}),
    "groups": (("s",), {}),
    "lag": (("s", "g"), {}),
    "retire": (("s", [BadEntry(ID, "not JSON")]), {"quarantine": "q", "moment": 1.0}),
    "trim": (("s",), {"keep_from": ID, "approximate": True, "abandonment": ABANDONMENT}),
    "demands": (("s",), {"abandonment": ABANDONMENT}),
    "dangling": (("s", "g"), {"count": 1, "after": ID, "forget": True}),
    "compare": (("s", "c"), {"after": ID}),
    "discard": (("c",), {}),
    "clock_ms": ((), {}),
    "ping": ((), {}),
    "capabilities": ((), {"near": "s"}),
    "leave": ((MEMBER,), {"idle_ms": 5}),
    "consumers": (("s", "g"), {}),
    "pending_entries": (("s", "g"), {"count": 1, "after": ID}),
    "standing": (("s", "g"), {}),
    "quarantined": (("q",), {"count": 1, "after": ID}),
}
UNREPEATABLE: dict[str, Call] = {
    "create_group": (("s", "g"), {"start": "0"}),
    "read_group": (("s", "g", "c"), {"count": 1, "after": "0", "block_ms": 5}),
    "claim": (("s", "g", "c"), {"min_idle_ms": 5, "ids": [ID]}),
    "replay": (("s", "q", ID), {"to": "c", "state": "k", "data": b"{}"}),
    "drop": (("q", [ID]), {}),
}
LEFT_TO_SUBSCRIPTIONS: dict[str, Call] = {
    "join": ((MEMBER,), {"start": "0", "on_loss": "resume", "expected": True}),
    "take": (([MEMBER],), {"count": 1, "block_ms": 5, "claim_idle_ms": 7}),
    "take_stuck": ((MEMBER,), {"count": 1, "min_idle_ms": 5, "pause_ms": 7}),
    "take_pending": ((MEMBER,), {"count": 1, "after": ID, "but": [ID]}),
    "take_again": ((MEMBER, [ID]), {}),
    "renew": ((MEMBER, [ID]), {}),
    "settle": ((MEMBER, [ID]), {}),
    "release": ((MEMBER, {ID: 5}), {"to": "d", "counted": True}),
    "bury": ((MEMBER, [DEAD]), {"quarantine": "q", "moment": 1.0}),
    "lead": ((MEMBER,), {"lease_ms": 5}),
}
COPYING: dict[str, Call] = {
    "copy_entries": (("s", "c"), {"is_begun": True}),
    "swap": (("s", "c"), {"free": "f"}),
}
VERBS = REPEATABLE | UNREPEATABLE | LEFT_TO_SUBSCRIPTIONS | COPYING
APPEND: Call = (("s", [b"{}"]), {"mark": MARK, "confirmation": None})
ANSWERLESS = ("create_group", "ping", "discard")
FINAL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and kind not in (Unavailable, Indeterminate, OutOfMemory)
]


class Spy:
    """Takes the place of one verb: raises what it is given, one by one, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.calls: list[Call] = []
        self.answer: object = object()
        self._failures = list(failures)

    async def __call__(self, *arguments: Any, **named: Any) -> object:
        self.calls.append((arguments, named))
        if self._failures:
            raise self._failures.pop(0)
        return self.answer


def replace(store: FakeStore, verb: str, *failures: Exception) -> Spy:
    spy = Spy(*failures)
    spy.answer = None if verb in ANSWERLESS else spy.answer
    setattr(store, verb, spy)
    return spy


def asked(store: StreamStore, verb: str) -> Awaitable[object]:
    arguments, named = APPEND if verb == "append" else VERBS[verb]
    ask: Callable[..., Awaitable[object]] = getattr(store, verb)
    return ask(*arguments, **named)


@pytest.fixture
def patient(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> RetryingStore:
    """Return a store that tries again without delay."""
    monkeypatch.setattr(retrying, "delays", lambda: [0.0] * (ATTEMPTS - 1))
    return RetryingStore(store)


def test_every_verb_of_the_ports_is_in_the_tables_above() -> None:
    assert StreamStore.__abstractmethods__ - {"event_loops", "append", "aclose"} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_call_goes_through_as_it_is(store: FakeStore, patient: RetryingStore, verb: str) -> None:
    spy = replace(store, verb)

    assert await asked(patient, verb) is spy.answer
    assert spy.calls == [VERBS[verb]]


@pytest.mark.parametrize("error", [Unavailable, OutOfMemory])
@pytest.mark.parametrize("verb", REPEATABLE | UNREPEATABLE)
async def test_what_certainly_did_not_run_is_sent_again_as_it_was(
    store: FakeStore, patient: RetryingStore, verb: str, error: type[errors.StreamsError]
) -> None:
    spy = replace(store, verb, error("not run"), error("not run"))

    assert await asked(patient, verb) is spy.answer
    assert spy.calls == [VERBS[verb]] * 3


@pytest.mark.parametrize("verb", REPEATABLE)
async def test_what_may_have_run_is_sent_again_if_that_changes_nothing(
    store: FakeStore, patient: RetryingStore, verb: str
) -> None:
    spy = replace(store, verb, Indeterminate("no reply"))

    assert await asked(patient, verb) is spy.answer
    assert len(spy.calls) == 2


@pytest.mark.parametrize("verb", UNREPEATABLE)
async def test_what_may_have_run_is_not_sent_again_if_it_hands_something_over(
    store: FakeStore, patient: RetryingStore, verb: str
) -> None:
    spy = replace(store, verb, Unavailable("not run"), Indeterminate("no reply"))

    with pytest.raises(Indeterminate):
        await asked(patient, verb)

    assert len(spy.calls) == 2


@pytest.mark.parametrize("error", [*FINAL, RuntimeError], ids=lambda error: error.__name__)
@pytest.mark.parametrize("verb", VERBS)
async def test_no_other_error_is_worth_another_attempt(
    store: FakeStore, patient: RetryingStore, verb: str, error: type[Exception]
) -> None:
    spy = replace(store, verb, error("final"))

    with pytest.raises(error):
        await asked(patient, verb)

    assert len(spy.calls) == 1


@pytest.mark.parametrize("error", [Unavailable, OutOfMemory, Indeterminate])
@pytest.mark.parametrize("verb", REPEATABLE)
async def test_attempts_are_bounded_and_the_last_error_is_raised(
    store: FakeStore, patient: RetryingStore, verb: str, error: type[errors.StreamsError]
) -> None:
    failures = [error(f"attempt {n}") for n in range(100)]
    spy = replace(store, verb, *failures)

    with pytest.raises(error) as caught:
        await asked(patient, verb)

    assert caught.value is failures[ATTEMPTS - 1]
    assert len(spy.calls) == ATTEMPTS


@pytest.mark.parametrize("error", [Unavailable, Indeterminate, OutOfMemory])
@pytest.mark.parametrize("verb", ["append", *LEFT_TO_SUBSCRIPTIONS])
async def test_what_the_write_path_and_subscriptions_do_is_left_to_them_to_repeat(
    store: FakeStore, patient: RetryingStore, verb: str, error: type[errors.StreamsError]
) -> None:
    spy = replace(store, verb, error("not done"))
    with pytest.raises(error):
        await asked(patient, verb)

    assert len(spy.calls) == 1


@pytest.mark.parametrize("verb", ["ping", "append", "take"])
async def test_a_server_that_cannot_be_reached_is_brought_back_where_that_can_be_done(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(retrying, "delays", lambda: [0.0])
    revived: list[str] = []

    async def revive() -> None:
        revived.append(verb)

    replace(store, verb, Unavailable("not run"))
    with suppress(Unavailable):
        await asked(RetryingStore(store, revive=revive), verb)

    assert revived == [verb]


async def test_a_store_is_closed_once(store: FakeStore, patient: RetryingStore) -> None:
    spy = replace(store, "aclose")
    await patient.aclose()

    assert len(spy.calls) == 1


def test_it_runs_where_the_store_runs(store: FakeStore, patient: RetryingStore) -> None:
    assert patient.event_loops == store.event_loops


# -- delays


def test_delays_grow_and_end() -> None:
    for _ in range(100):
        delays = list(retrying.delays())
        assert len(delays) == ATTEMPTS - 1
        assert delays == sorted(delays)
        assert 1.5 < sum(delays) < 4


def test_delays_differ_so_that_many_clients_do_not_come_at_once() -> None:
    assert len({tuple(retrying.delays()) for _ in range(10)}) > 1


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["trio"])
async def test_it_waits_between_attempts(store: FakeStore) -> None:
    replace(store, "ping", *[Unavailable("not run")] * (ATTEMPTS - 1))
    began = anyio.current_time()
    await RetryingStore(store).ping()

    assert 1.5 < anyio.current_time() - began < 4


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["trio"])
async def test_a_caller_that_is_cancelled_is_not_kept_waiting(store: FakeStore) -> None:
    spy = replace(store, "ping", *[Unavailable("not run")] * 100)
    with anyio.move_on_after(0.001):
        await RetryingStore(store).ping()

    assert len(spy.calls) == 1


@pytest.mark.parametrize(
    ("verb", "failure", "calls"),
    [
        ("copy_entries", Unavailable, 2),
        ("copy_entries", Indeterminate, 2),
        ("swap", Unavailable, 2),
        ("swap", Indeterminate, 1),
        ("copy_entries", OutOfMemory, 1),
        ("swap", OutOfMemory, 1),
    ],
)
async def test_a_copy_that_fills_the_server_does_not_wait_for_it_to_have_room(
    store: FakeStore, patient: RetryingStore, verb: str, failure: type[errors.StreamsError], calls: int
) -> None:
    spy = replace(store, verb, failure("once"))
    try:
        await asked(patient, verb)
    except failure:
        assert calls == 1
    assert len(spy.calls) == calls
