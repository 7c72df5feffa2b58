"""Somebody else's distribution adds a driver: an entry point, and the few things that a driver supplies."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Building a wheel may fetch what builds it, and the suite for drivers has many tests.
pytestmark = pytest.mark.timeout(600)

ABOUT_DRIVERS = ["append", "read", "blocking", "groups", "delivering", "errors", "lifecycle", "maintenance", "outages"]
USE = Path(__file__).parent / "acme" / "use.py"


def run(acme: Path, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python where the driver is installed."""
    environment = os.environ | {"PYTHONPATH": str(acme)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_it_is_found_by_its_entry_point(acme: Path) -> None:
    found = run(acme, "-c", "from papyra_streams import drivers; print(drivers.names(), drivers.load('acme'))")

    assert "'acme'" in found.stdout
    assert "<function driver at" in found.stdout


@pytest.mark.parametrize("event_loop", ["asyncio", "trio"])
def test_a_backend_uses_it_on_a_real_server(acme: Path, event_loop: str) -> None:
    used = run(acme, "-W", "error", USE, event_loop)

    assert (used.returncode, used.stdout, used.stderr) == (0, "3 100 100 0 100 0\n", "")


def test_a_topology_that_it_refuses_is_left_out_and_it_is_said_why(acme: Path, tmp_path: Path) -> None:
    plugin = ("-p", "papyra_streams_contract.plugin", "--driver", "acme", "--topology", "cluster")
    suite = run(acme, "-m", "pytest", "-q", "--pyargs", "papyra_streams_contract.test_read", *plugin, cwd=tmp_path)

    assert suite.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "x acme refuses the topology cluster: The driver 'acme' reaches single servers" in suite.stdout


def test_it_passes_what_is_about_drivers_in_the_suite_for_them(acme: Path, tmp_path: Path) -> None:
    plugin = ("-p", "papyra_streams_contract.plugin", "--driver", "acme")
    # All else stands on these, and takes many minutes.
    chosen = [f"papyra_streams_contract.test_{name}" for name in ABOUT_DRIVERS]
    suite = run(acme, "-m", "pytest", "-q", "--pyargs", *chosen, *plugin, cwd=tmp_path)

    assert suite.returncode == 0, suite.stdout + suite.stderr
    assert int(re.findall(r"(\d+) passed", suite.stdout)[-1]) > 100
