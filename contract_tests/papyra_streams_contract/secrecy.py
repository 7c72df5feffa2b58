"""No password is shown: whatever the tests print, log or fail with is looked through for the one they all use."""

import pytest

SECRET = "open-sesame-7f3a9c"
"""Every password of the suite contains it. It stands in a URL as it is."""


class Watch:
    """Looks through what is known of each test, whether it passed or not, and fails the run that shows the secret."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look through a test's name, what was captured of it, and how it failed."""
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Look through what a file printed when it was imported."""
        self._look(report)

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        told = getattr(report, "user_properties", [])
        said = {"name": report.nodeid, "failure": report.longreprtext, "figures": repr(told), **dict(report.sections)}
        shown = [where for where, text in said.items() if SECRET in text]
        self._shown |= {f"{report.nodeid.replace(SECRET, '***')}: {where}" for where in shown}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run, also where every test passed."""
        if self._shown and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the tests."""
        if self._shown:
            terminalreporter.section("papyra-streams: a password was shown", red=True)
        for where in sorted(self._shown):
            terminalreporter.write_line(f"the tests' password is in {where}")
