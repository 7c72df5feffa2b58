"""Which tests of the suite run on which topology is said, and cannot be said wrongly."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import pytest

@pytest.mark.topologies({mark})
def test_one(target):
    pass

def test_other(target):
    pass
"""


def run(directory: Path, mark: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run two tests with the suite's plugin, of which one has the mark."""
    program = directory / "test_program.py"
    program.write_text(PROGRAM.format(mark=mark))
    plugins = ["-p", "papyra_streams_contract.plugin", "-p", "no:valkey", "--driver", "redis"]
    command = [sys.executable, "-m", "pytest", *plugins, str(program), *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_what_a_topology_lacks_is_left_out_and_counted_with_its_reason(tmp_path: Path) -> None:
    done = run(tmp_path, '"cluster", reason="it has slots"', "--topology", "acl", "--topology", "cluster")

    assert done.returncode == 0
    assert "1 x not on acl: it has slots" in done.stdout
    assert "redis on embedded-acl, embedded-cluster: 3 tests run, 0 skipped, 1 left out" in done.stdout


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ('"ring", reason="it is round"', "the topologies are standalone, tls, acl, sentinel, cluster, not ring"),
        ('reason="it is round"', "names no topology"),
        ('"cluster"', "gives no reason"),
    ],
)
def test_a_mark_that_says_too_little_stops_the_run(tmp_path: Path, mark: str, complaint: str) -> None:
    done = run(tmp_path, mark)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert complaint in done.stderr


def test_a_topology_that_there_is_not_stops_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, '"cluster", reason="it has slots"', "--topology", "ring")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--topology ring: the topologies are standalone, tls, acl, sentinel, cluster." in done.stderr


def test_a_server_that_runs_already_has_no_other_topology(tmp_path: Path) -> None:
    done = run(
        tmp_path, '"cluster", reason="it has slots"', "--server-url", "redis://127.0.0.1:1", "--topology", "cluster"
    )

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--topology cluster needs a server program, which 127.0.0.1:1 is not; see --servers." in done.stderr
