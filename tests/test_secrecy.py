"""A run of the suite that shows the password its tests use fails, however it is shown."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, subprocess, sys
import pytest
from papyra_streams_contract.secrecy import SECRET

def test_print():
    print(SECRET)

def test_log():
    logging.getLogger("papyra_streams").warning("redis://:%s@localhost", SECRET)

def test_exception():
    raise RuntimeError(f"redis://:{SECRET}@localhost")

def test_subprocess():
    subprocess.run([sys.executable, "-S", "-c", "import sys; sys.stderr.write(sys.argv[1])", SECRET])

@pytest.mark.parametrize("password", [SECRET])
def test_name(password):
    pass

def test_figures(record_property):
    record_property("url", SECRET)

def test_nothing():
    print(len(SECRET))
"""
PLACES = {
    "test_print": "Captured stdout call",
    "test_log": "Captured log call",
    "test_exception": "failure",
    "test_subprocess": "Captured stderr call",
    "test_name[***]": "name",
    "test_figures": "figures",
}


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run these tests with the suite's plugin."""
    program = directory / "test_program.py"
    program.write_text(PROGRAM)
    plugins = ["-p", "papyra_streams_contract.plugin", "-p", "no:valkey"]
    command = [sys.executable, "-m", "pytest", *plugins, str(program), *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_each_test_that_shows_the_password_is_named(tmp_path: Path) -> None:
    done = run(tmp_path)

    named = [line for line in done.stdout.splitlines() if line.startswith("the tests' password is in")]
    expected = [f"the tests' password is in test_program.py::{test}: {place}" for test, place in PLACES.items()]
    assert named == sorted(expected)


def test_a_run_that_shows_the_password_fails_though_its_tests_pass(tmp_path: Path) -> None:
    done = run(tmp_path, "-k", "test_print")

    assert "1 passed" in done.stdout
    assert done.returncode == 1


def test_a_run_that_shows_none_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "-k", "test_nothing")

    assert "1 passed" in done.stdout
    assert done.returncode == 0
