"""Writing a stream anew: what is done when the copy is behind, differs, or is gone."""

from collections import deque
from typing import Any, Literal

import pytest

from papyra_streams.application.rebuilding import Rebuilding
from papyra_streams.application.sweeping import tell_nobody
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.reports import Progress, RebuildOutcome
from papyra_streams.errors import Indeterminate, OutOfMemory, PermissionDenied, Rejected
from papyra_streams.ports import CopyStep

from .fakes import FakeStore, stored

pytestmark = pytest.mark.anyio

KEYS = Keyspace("papyra", "orders")
STREAM = KEYS.stream(Partition(EVENTS))
COPY = KEYS.rebuilt(Partition(EVENTS), "copy")

Outcome = Literal["swapped", "behind", "differs", "pending"] | None


def step(copied: int, *, is_complete: bool = False, records: int = 2) -> CopyStep:
    return CopyStep(is_complete=is_complete, copied=copied, records=records)


class Scripted(FakeStore):
    """Answers as it was told to, and notes what it is asked."""

    def __init__(self, swaps: list[Any], *, copies: list[Any] | None = None, compares: list[Any] | None = None) -> None:
        super().__init__()
        self.put(STREAM, [stored("event", 1), stored("event", 2)])
        self.asked: list[str] = []
        self._swaps = deque(swaps)
        self._copies = deque(copies or [])
        self._compares = deque(compares or [])

    async def copy_entries(self, stream: str, copy: str, *, is_begun: bool) -> CopyStep | None:
        assert (stream, copy) == (STREAM, COPY)
        self.asked.append("go on" if is_begun else "begin")
        answer = self._copies.popleft() if self._copies else step(2, is_complete=True)
        if isinstance(answer, Exception):
            raise answer
        assert answer is None or isinstance(answer, CopyStep)
        return answer

    async def compare(self, stream: str, copy: str, *, after: EntryId | None) -> EntryId | bool | None:
        assert (stream, copy) == (STREAM, COPY)
        self.asked.append(f"compare {after}")
        answer: EntryId | bool | None = self._compares.popleft()
        return answer

    async def swap(self, stream: str, copy: str, *, free: str) -> Outcome:
        assert (stream, copy, free) == (STREAM, COPY, KEYS.rebuilt(Partition(EVENTS), "former"))
        self.asked.append("swap")
        answer: Outcome | Exception = self._swaps.popleft() if len(self._swaps) > 1 else self._swaps[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def discard(self, copy: str) -> None:
        assert copy == COPY
        self.asked.append("discard")


async def rebuilt(store: Scripted) -> RebuildOutcome:
    outcome = await Rebuilding(store, KEYS).run(Partition(EVENTS), tell_nobody)
    assert outcome is not None
    return outcome


async def test_a_whole_copy_is_swapped_in() -> None:
    store = Scripted(["swapped"])
    outcome = await rebuilt(store)

    assert (outcome.stream, outcome.obstacle, outcome.records) == (STREAM, "", 2)
    assert store.asked == ["begin", "swap"]


async def test_it_is_copied_step_by_step_and_told() -> None:
    store = Scripted(["swapped"], copies=[step(1), step(2, is_complete=True)])
    told: list[Progress] = []

    async def tell(progress: Progress) -> None:
        told.append(progress)

    await Rebuilding(store, KEYS).run(Partition(EVENTS), tell)
    assert store.asked == ["begin", "go on", "swap"]
    assert [(each.step, each.stream) for each in told] == [("rebuild", STREAM)] * 2


async def test_a_stream_without_entries_is_left_alone(store: FakeStore) -> None:
    assert await Rebuilding(store, KEYS).run(Partition(EVENTS), tell_nobody) is None


async def test_a_copy_that_is_behind_is_gone_on_with() -> None:
    store = Scripted(["behind", "swapped"])

    assert (await rebuilt(store)).obstacle == ""
    assert store.asked == ["begin", "swap", "go on", "swap"]


async def test_a_copy_that_differs_is_compared_to_its_end() -> None:
    store = Scripted(["differs", "swapped"], compares=[EntryId(1, 0), True])

    assert (await rebuilt(store)).obstacle == ""
    assert store.asked == ["begin", "swap", "compare None", "compare 1-0", "go on", "swap"]


async def test_a_copy_that_can_never_become_the_stream_is_begun_anew() -> None:
    store = Scripted(["differs", "swapped"], compares=[False])

    assert (await rebuilt(store)).obstacle == ""
    assert store.asked == ["begin", "swap", "compare None", "discard", "begin", "swap"]


async def test_a_copy_that_went_away_while_it_was_compared_is_not_made_again() -> None:
    store = Scripted(["differs", "swapped"], compares=[None])

    assert "somebody else" in (await rebuilt(store)).obstacle
    assert store.asked == ["begin", "swap", "compare None"]


@pytest.mark.parametrize("swaps", [["behind"], ["differs"]])
async def test_a_stream_that_never_rests_is_given_up(swaps: list[Outcome]) -> None:
    store = Scripted(swaps, compares=[True] * 99)

    assert "faster than" in (await rebuilt(store)).obstacle
    assert store.asked.count("swap") == 10
    assert store.asked[-1] == "discard"


async def test_very_many_pending_entries_are_an_obstacle() -> None:
    store = Scripted(["pending"])

    assert "pending" in (await rebuilt(store)).obstacle
    assert store.asked[-1] == "discard"


@pytest.mark.parametrize(("swap", "copies"), [(None, []), ("swapped", [None])])
async def test_what_somebody_else_has_replaced_meanwhile_is_told_and_left_to_them(
    swap: Outcome, copies: list[Any]
) -> None:
    store = Scripted([swap], copies=copies)

    assert "somebody else" in (await rebuilt(store)).obstacle
    assert "discard" not in store.asked


async def test_an_entry_that_cannot_be_copied_is_an_obstacle() -> None:
    store = Scripted(["swapped"], copies=[Rejected("The entry 1-0 has too many fields")])

    assert (await rebuilt(store)).obstacle == "The entry 1-0 has too many fields"
    assert store.asked == ["begin", "discard"]


async def test_a_server_without_room_gets_it_back() -> None:
    store = Scripted(["swapped"], copies=[step(1), OutOfMemory("full")])

    with pytest.raises(OutOfMemory):
        await rebuilt(store)
    assert store.asked == ["begin", "go on", "discard"]


async def test_a_swap_whose_answer_was_lost_is_taken_for_done_where_the_copy_is_gone() -> None:
    store = Scripted([Indeterminate("no reply")])

    assert (await rebuilt(store)).obstacle == ""
    assert store.asked == ["begin", "swap"]


async def test_a_swap_whose_answer_was_lost_is_made_again_where_the_copy_is_there() -> None:
    store = Scripted([Indeterminate("no reply"), "swapped"])
    store.put(COPY, [stored("event", 1), stored("event", 2)])

    assert (await rebuilt(store)).obstacle == ""
    assert store.asked == ["begin", "swap", "go on", "swap"]


async def test_a_stream_that_is_written_to_faster_than_it_is_copied_is_given_up() -> None:
    store = Scripted(["swapped"], copies=[step(400 * n, records=500 * n + 100_000) for n in range(999)])

    assert "faster than" in (await rebuilt(store)).obstacle
    assert len(store.asked) < 300
    assert store.asked[-1] == "discard"


async def test_a_long_stream_is_copied_to_its_end() -> None:
    steps = [step(400 * n, records=200_000 + n) for n in range(1, 500)]
    store = Scripted(["swapped"], copies=[*steps, step(200_500, is_complete=True)])
    store.put(STREAM, [stored("event", n) for n in range(3, 200_001)])

    assert (await rebuilt(store)).obstacle == ""


async def test_who_has_no_right_to_swap_leaves_no_copy() -> None:
    store = Scripted([PermissionDenied("rename")])

    with pytest.raises(PermissionDenied):
        await rebuilt(store)
    assert store.asked == ["begin", "swap", "discard"]
