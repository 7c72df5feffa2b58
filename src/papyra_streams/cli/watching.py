"""A bar that shows how far an operation has come."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from papyra_streams.application.sweeping import tell_nobody
from papyra_streams.domain import reports


@contextmanager
def watched() -> Iterator[reports.OnProgress]:
    """Show progress on standard error while it is a terminal, a bar for each stream; it is gone at the end.

    What is logged meanwhile stands above the bars.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield tell_nobody
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[found]}", markup=False),
    )
    # Standard output may be a file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bars:
        yield _Bars(bars).show


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    async def show(self, progress: reports.Progress) -> None:
        name = f"{progress.step} {progress.stream}"
        found = "" if progress.step == "rebuild" else f"{progress.found} found"
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=progress.total, found=found)
        self._bars.update(self._tasks[name], completed=progress.done, total=progress.total, found=found)
