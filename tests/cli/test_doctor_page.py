"""The page for the operator: each command on it runs as written, and prints what stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Client

PAGE = (Path(__file__).parents[2] / "docs" / "pages" / "doctor.md").read_text(encoding="utf-8")
SETTINGS = re.compile(r"^```python\n(# myapp/settings\.py\n.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
URL = "redis://localhost:6379/0"
ID = re.compile(r"\b\d{13}-\d+\b")
# What depends on the time, the server and its memory. Few digits are counts.
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\d+ days(, [\d:]+)?"), "<age>"),
    (re.compile(r"\d+ seconds"), "<age>"),
    (re.compile(r"cannot be reached: .*"), "cannot be reached"),
    (re.compile(r"\b\d{1,3}(,\d{3})+\b|\b\d{3}\b"), "<number>"),
    (re.compile(r"─+"), "─"),
    (re.compile(r" +"), " "),
)
# As redis-cli prints into a pipe.
CLIENT = """#!{python}
import signal, sys
from redis import Redis
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
def show(reply):
    if isinstance(reply, dict):
        reply = list(reply.items())
    if isinstance(reply, (list, tuple)):
        for each in reply: show(each)
        if not reply: print()
    else:
        print(reply.decode() if isinstance(reply, bytes) else "" if reply is None else reply)
client = Redis.from_url({url!r})
client.response_callbacks.clear()
show(client.execute_command(*sys.argv[1:]))
"""


class Operator:
    """Types commands at a prompt."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._url = url
        (directory / "myapp").mkdir()
        (found,) = SETTINGS.findall(PAGE)
        (directory / "myapp" / "settings.py").write_text(found.replace(URL, url))
        client = directory / "redis-cli"
        client.write_text(CLIENT.format(python=sys.executable, url=url))
        client.chmod(0o755)

    def type(self, command: str) -> str:
        """Run a command; return what it prints, on standard error too."""
        path = os.pathsep.join([str(self._directory), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {
            "PATH": path,
            "PYTHONPATH": f".{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "PAPYRA_SETTINGS_MODULE": "myapp.settings.Production",
            "COLUMNS": "110",
        }
        done = subprocess.run(
            ["bash", "-c", command.replace(URL, self._url)],
            cwd=self._directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout


def steps() -> list[tuple[str, str]]:
    """Return each command of the page, and what stands below it."""
    found = []
    for block in CONSOLE.findall(PAGE):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = step.partition("\n")
            found.append((command, printed))
    return found


def settled(printed: str) -> str:
    for changing, name in CHANGING:
        printed = changing.sub(name, printed)
    return "\n".join(line.rstrip() for line in printed.strip().splitlines())


@pytest.mark.timeout(300)
def test_every_command_prints_what_the_page_says(tmp_path: Path, url: str, client: Client) -> None:
    client.flushall()
    operator = Operator(tmp_path, url)
    # The ids of the page, and those that stand for them here.
    ids: dict[str, str] = {}
    for command, expected in steps():
        printed = operator.type(ID.sub(lambda match: ids.get(match[0], match[0]), command))
        ids.update(zip(ID.findall(expected), ID.findall(printed), strict=False))
        there = ID.sub(lambda match: ids.get(match[0], match[0]), expected)
        assert (command, settled(printed)) == (command, settled(there))


def test_the_page_has_commands() -> None:
    assert len(steps()) >= 40
