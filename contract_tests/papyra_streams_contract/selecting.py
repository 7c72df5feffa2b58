"""Which tests run on which topology, and why others do not."""

from collections import Counter
from collections.abc import Iterable

import pytest

from .matrix import Target
from .topologies import TOPOLOGIES

MARKER = "topologies"
HELP = "topologies(*names, reason): run on these alone; the reason says what the others lack"


class Selection:
    """Leaves out tests, and counts for what reason."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    def choose(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Take out of the list what is not to run."""
        chosen: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            reason = _why_not(item)
            (left_out if reason else chosen).append(item)
            self.reasons.update([reason] if reason else [])
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = chosen


def refuse_bad_marks(items: Iterable[pytest.Item]) -> None:
    """Stop where a test names a topology that there is not, or gives no reason.

    :raises pytest.UsageError: in both cases
    """
    for item in items:
        for marker in item.iter_markers(MARKER):
            unknown = [name for name in marker.args if name not in TOPOLOGIES]
            if unknown:
                known = ", ".join(TOPOLOGIES)
                raise pytest.UsageError(f"{item.nodeid}: the topologies are {known}, not {', '.join(unknown)}.")
            if not marker.args:
                raise pytest.UsageError(f"{item.nodeid}: the mark {MARKER!r} names no topology.")
            if not marker.kwargs.get("reason"):
                raise pytest.UsageError(f"{item.nodeid}: the mark {MARKER!r} gives no reason.")


def target_of(item: pytest.Item) -> Target | None:
    """Return the target of a test, if it has one."""
    callspec = item.callspec if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    target = callspec.params.get("target") if callspec else None
    return target if isinstance(target, Target) else None


def _why_not(item: pytest.Item) -> str | None:
    target = target_of(item)
    if target is None:
        return None
    if refusal := target.refusal:
        return f"{target.driver_name} refuses the topology {target.source.topology}: {refusal}"
    for marker in item.iter_markers(MARKER):
        if target.source.topology not in marker.args:
            return f"not on {target.source.topology}: {marker.kwargs['reason']}"
    return None
