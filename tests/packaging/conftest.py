"""The distributions as they are installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pip(*arguments: str | Path) -> None:
    """Run pip, which builds in an environment of its own."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this project, built for the tests."""
    directory = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", directory, ROOT)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory in which somebody else's driver is installed, and nothing more."""
    source = tmp_path_factory.mktemp("acme") / "source"
    shutil.copytree(Path(__file__).parent / "acme", source, ignore=shutil.ignore_patterns("__pycache__"))
    target = source.with_name("installed")
    pip("install", "--no-deps", "--target", target, source)
    return target
