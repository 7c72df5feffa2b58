"""The commands as an operator runs them: on the backend that the settings name."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Client, Commands

PROGRAM = str(Path(sys.executable).with_name("papyra-streams"))
SETTINGS = """
from papyra import Settings
from papyra.persistence import InMemoryPersistence
from papyra.persistence.backends.redis import RedisStreamsConfig as TheirConfig
from papyra.persistence.backends.redis import RedisStreamsPersistence as TheirBackend
from papyra.persistence.backends.retention import RetentionPolicy
from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence

class Production(Settings):
    persistence = RedisStreamsPersistence(
        RedisStreamsConfig(
            url={url!r}, prefix={prefix!r}, system_id="orders", driver={driver!r}, approx_trim=False,
            abandoned_after=3.0,
        ),
        retention_policy=RetentionPolicy(max_records=3),
    )

class Memory(Settings):
    persistence = InMemoryPersistence()

class Theirs(Settings):
    persistence = TheirBackend(TheirConfig(url={url!r}))
"""
BROKEN = {
    "raises.py": "raise RuntimeError('no such\\nsecret')",
    "wrong.py": """
from papyra import Settings
from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
class Production(Settings):
    persistence = RedisStreamsPersistence(RedisStreamsConfig(url="redis://:sesame/0@localhost"))
""",
}


class Operator:
    """Runs commands in a directory with settings."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, *words: str, settings: str = "production.Production") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *words],
            cwd=self._directory,
            env=self.environment(settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def environment(self, settings: str) -> dict[str, str]:
        path = f"{self._directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        return os.environ | {"PAPYRA_SETTINGS_MODULE": settings, "PYTHONPATH": path, "PYTHONWARNINGS": "default"}

    def on_terminal(self, *words: str) -> str:
        """Run a command whose standard error is a terminal; return what is shown there."""
        ours, theirs = pty.openpty()
        environment = self.environment("production.Production") | {"TERM": "xterm", "COLUMNS": "200"}
        done = subprocess.run(
            [PROGRAM, *words], cwd=self._directory, env=environment, stdout=subprocess.PIPE, stderr=theirs, check=False
        )
        assert b"\x1b" not in done.stdout
        os.close(theirs)
        shown = os.read(ours, 100_000)
        os.close(ours)
        return shown.decode()


@pytest.fixture
def operator(tmp_path: Path, url: str, prefix: str, driver: str) -> Operator:
    (tmp_path / "production.py").write_text(SETTINGS.format(url=url, prefix=prefix, driver=driver))
    for name, program in BROKEN.items():
        (tmp_path / name).write_text(program)
    return Operator(tmp_path)


def test_scan_recover_and_scan_again(operator: Operator, commands: Commands) -> None:
    commands.add("{broken")
    done = operator("scan")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("anomalies: 1, entries read: 1\n")
    done = operator("recover", "--mode", "quarantine")
    assert (done.returncode, done.stderr) == (0, "")
    done = operator("quarantine", "list", "events")
    assert (done.returncode, done.stderr) == (0, "")
    assert "not JSON" in done.stdout
    done = operator("scan", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning["detail"].startswith("The quarantine ")


def test_the_retention_of_the_settings_applies(operator: Operator, commands: Commands, client: Client) -> None:
    for _ in range(5):
        commands.add()
    commands.pending("forgotten")
    done = operator("compact")
    assert "held back by the group 'forgotten'" in done.stdout
    # Compactions have to see for so long that nobody is heard of.
    deadline = time.monotonic() + 30
    while "not held back" not in done.stdout and time.monotonic() < deadline:
        done = operator("compact")
    assert done.returncode == 0
    assert done.stdout.splitlines()[2].split()[:4] == [commands.events, "5", "3", "2"]
    assert f"{commands.events}: not held back by 'forgotten', which nobody was heard of in\n" in done.stdout
    assert done.stderr.startswith(f"Entries of {commands.events} were removed that the group 'forgotten' had yet ")
    assert client.xlen(commands.events) == 3


@pytest.mark.parametrize("driver", ["redis"], indirect=True)
def test_a_terminal_shows_how_far_it_is(operator: Operator, commands: Commands) -> None:
    commands.add("{broken")
    for words in (["scan"], ["scan", "--full", "--json"], ["recover", "--mode", "rebuild"]):
        shown = operator.on_terminal(*words)
        assert f"{words[0]} {commands.events} " in shown
        assert "1/1" in shown


@pytest.mark.parametrize("driver", ["redis"], indirect=True)
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("production.Memory", "is a papyra.persistence.backends.memory.InMemoryPersistence, for which there is"),
        ("production.Theirs", "is a papyra.persistence.backends.redis.RedisStreamsPersistence, for which there is"),
        ("production.Nothing", "PAPYRA_SETTINGS_MODULE=production.Nothing cannot be used: ImportError: "),
        (
            "nothing.Production",
            "ModuleNotFoundError: No module named 'nothing'. Set PAPYRA_SETTINGS_MODULE, and PYTHON",
        ),
        ("production", "PAPYRA_SETTINGS_MODULE=production cannot be used: "),
        ("raises.Production", "RuntimeError: no such\\nsecret. Set"),
        ("wrong.Production", "InvalidUrl: `url` "),
        ("", "PAPYRA_SETTINGS_MODULE is not set"),
    ],
)
@pytest.mark.parametrize("command", ["scan", "quarantine export events"])
def test_settings_that_name_no_backend_of_ours(command: str, settings: str, reason: str, operator: Operator) -> None:
    done = operator(*command.split(), settings=settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert "sesame" not in done.stderr


@pytest.mark.parametrize("driver", ["redis"], indirect=True)
def test_options_take_the_place_of_the_settings(operator: Operator, url: str, prefix: str, commands: Commands) -> None:
    commands.add("{broken")
    done = operator("scan", "--url", url, "--prefix", prefix, settings="nothing.Production")
    assert (done.returncode, done.stdout, done.stderr) == (0, "anomalies: 0, entries read: 0\n", "")
