"""What tests of workers are given."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from papyra_streams_contract.servers import Server

from .processes import Crew, Parent

Tell = Callable[[str], None]
"""Show figures of a test at the end of the run."""

_FIGURES = "figures"


class MakeCrew(Protocol):
    """Make a crew without workers, which is ended with the test."""

    def __call__(self, server: Server, **given: object) -> Crew:
        """Make it.

        :param given: `Orders` that its workers have in common
        """


@pytest.fixture(scope="session")
def parent_of_workers() -> Iterator[Parent]:
    """Return the process that workers are forked from."""
    parent = Parent()
    yield parent
    parent.close()


@pytest.fixture
def make_crew(parent_of_workers: Parent, driver_name: str, tmp_path: Path) -> Iterator[MakeCrew]:
    """Return a function that makes crews."""
    with ExitStack() as stack:

        def make(server: Server, **given: object) -> Crew:
            return stack.enter_context(Crew(parent_of_workers, server, driver_name, tmp_path, **given))

        yield make


@pytest.fixture
def tell(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Tell:
    """Return a function that shows figures at the end of the run."""
    return lambda figures: record_property(_FIGURES, f"{request.node.name}: {figures}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    told = [told for report in reports for name, told in report.user_properties if name == _FIGURES]
    if told:
        terminalreporter.section("papyra-streams workers")
    for figures in told:
        terminalreporter.write_line(figures)
