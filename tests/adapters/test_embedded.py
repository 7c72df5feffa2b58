"""Embedded servers, with real processes: who starts them, who shares them, and what is left when somebody is killed."""

import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from papyra_streams.endpoint import EmbeddedDirectory, Endpoint
from papyra_streams.ports.servers import EmbeddedServers, ServerLease
from papyra_streams_adapters.embedded import server
from papyra_streams_adapters.embedded import servers as module

pytestmark = [pytest.mark.timeout(60), pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

# Prints what it learns as a line of JSON, and then waits for a line before it goes on.
_USER = """
import json, os, sys
from papyra_streams.endpoint import EmbeddedDirectory
from papyra_streams_adapters.embedded import server
lease = server().acquire(EmbeddedDirectory(path=sys.argv[1] or None))
print(json.dumps({"socket": lease.endpoint.path}), flush=True)
sys.stdin.readline()
"""

_STORM = """
import sys
from papyra_streams.endpoint import EmbeddedDirectory
from papyra_streams_adapters.embedded import _wire, server
for _ in range(15):
    lease = server().acquire(EmbeddedDirectory(path=sys.argv[1]))
    print(_wire.ask(lease.endpoint.path, "PING", seconds=5).decode().strip() or "silent", flush=True)
    lease.release()
"""


@pytest.fixture
def servers() -> EmbeddedServers:
    return server()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test temporary files of its own, and prove that it leaves neither a process nor a file in them."""
    with tempfile.TemporaryDirectory(prefix="embedded-test-", dir="/tmp") as short:
        temporary = Path(short, "t")
        temporary.mkdir()
        monkeypatch.setenv("TMPDIR", str(temporary))
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(short, "data")
        gc.collect()
        _eventually(lambda: not _processes_in(short) and not _processes_in(str(tmp_path)), "processes are left")
        _eventually(lambda: not list(temporary.iterdir()), "temporary files are left")


def _eventually(condition: Callable[[], object], complaint: str, *, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.005)


def _processes_in(directory: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where = os.readlink(entry / "cwd")
            except OSError:
                continue
            if Path(where).is_relative_to(os.path.realpath(directory)):
                found.append(int(entry.name))
    return found


def _kept(directory: Path) -> EmbeddedDirectory:
    return EmbeddedDirectory(path=str(directory))


def _say(where: Endpoint | str, *words: str) -> str:
    path = where if isinstance(where, str) else where.path
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rwb") as stream:
        connection.settimeout(10)
        connection.connect(path)
        stream.write(b"*%d\r\n" % len(words))
        for word in words:
            stream.write(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
        stream.flush()
        return _read(stream.readline)


def _read(line: Callable[[], bytes]) -> str:
    head = line()
    if head.startswith(b"*"):
        return "|".join(_read(line) for _ in range(int(head[1:])))
    if not head.startswith(b"$") or head == b"$-1\r\n":
        return head[1:].strip().decode()
    body = b""
    while len(body) < int(head[1:]) + 2:
        body += line()
    return body[:-2].decode()


def _server_pid(where: Endpoint | str) -> int:
    return int(_say(where, "INFO", "server").split("process_id:")[1].split()[0])


def _keeper_pid(where: Endpoint | str) -> int:
    return int(Path(f"/proc/{_server_pid(where)}/stat").read_text().rpartition(")")[2].split()[1])


def _is_gone(pid: int) -> bool:
    # A process that init has yet to reap is gone as well.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _python(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@contextmanager
def _user(directory: Path | str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run another process that holds a lease, and let it end in peace if the test has not killed it."""
    with _python(_USER, str(directory)) as process:
        assert process.stdout
        yield process, json.loads(process.stdout.readline())["socket"]
        if process.poll() is None:
            process.communicate("\n", timeout=10)


def _can_take(file: Path, mode: int) -> bool:
    with file.open("rb") as lock:
        try:
            fcntl.flock(lock, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextmanager
def _released(lease: ServerLease) -> Iterator[Endpoint]:
    try:
        yield lease.endpoint
    finally:
        lease.release()


def test_a_private_server_goes_with_its_directory(servers: EmbeddedServers) -> None:
    lease = servers.acquire(EmbeddedDirectory(path=None))
    directory = Path(lease.endpoint.path).parent
    assert _say(lease.endpoint, "SET", "a", "1") == "OK"
    assert _say(lease.endpoint, "CONFIG", "GET", "appendonly") == "appendonly|no"
    pid = _server_pid(lease.endpoint)
    lease.release()
    _eventually(lambda: _is_gone(pid) and not directory.exists(), "server or directory is left")


def test_private_servers_are_not_shared(servers: EmbeddedServers) -> None:
    nowhere = EmbeddedDirectory(path=None)
    with _released(servers.acquire(nowhere)) as one, _released(servers.acquire(nowhere)) as other:
        assert _server_pid(one) != _server_pid(other)


def test_leases_on_one_directory_share_a_server(servers: EmbeddedServers, home: Path) -> None:
    first, second = servers.acquire(_kept(home)), servers.acquire(_kept(home))
    pid = _server_pid(first.endpoint)
    assert _server_pid(second.endpoint) == pid
    first.release()
    first.release()
    assert _server_pid(second.endpoint) == pid
    second.release()
    _eventually(lambda: _is_gone(pid), "the server is left")


def test_data_are_kept_when_the_last_user_leaves(servers: EmbeddedServers, home: Path) -> None:
    with _released(servers.acquire(_kept(home))) as endpoint:
        pid = _server_pid(endpoint)
        assert _say(endpoint, "SET", "a", "1") == "OK"
    _eventually(lambda: _is_gone(pid), "the server is left")
    with _released(servers.acquire(_kept(home))) as endpoint:
        assert _say(endpoint, "GET", "a") == "1"
        assert _say(endpoint, "CONFIG", "GET", "appendfsync") == "appendfsync|everysec"


def test_a_second_process_joins_and_keeps_the_server(servers: EmbeddedServers, home: Path) -> None:
    lease = servers.acquire(_kept(home))
    with _user(home) as (_, where):
        pid = _server_pid(where)
        assert _server_pid(lease.endpoint) == pid
        lease.release()
        assert _server_pid(where) == pid
    _eventually(lambda: _is_gone(pid), "the server is left")


def test_the_server_goes_when_its_only_user_is_killed(servers: EmbeddedServers, home: Path) -> None:
    with _user(home) as (process, where):
        pid = _server_pid(where)
        assert _say(where, "SET", "a", "1") == "OK"
        process.kill()
    _eventually(lambda: _is_gone(pid), "the server is left")
    with _released(servers.acquire(_kept(home))) as endpoint:
        assert _say(endpoint, "GET", "a") == "1"


def test_a_private_directory_goes_when_its_user_is_killed() -> None:
    with _user("") as (process, where):
        process.kill()
    _eventually(lambda: not Path(where).parent.exists(), "the directory is left")


def test_a_killed_server_is_started_anew_in_its_place(servers: EmbeddedServers, home: Path) -> None:
    with _released(servers.acquire(_kept(home))) as endpoint:
        assert _say(endpoint, "CONFIG", "SET", "appendfsync", "always") == "OK"
        assert _say(endpoint, "SET", "a", "1") == "OK"
        os.kill(_server_pid(endpoint), signal.SIGKILL)
        with _released(servers.acquire(_kept(home))) as other:
            assert other == endpoint
            assert _say(endpoint, "GET", "a") == "1"


def test_a_killed_private_server_leaves_no_directory(servers: EmbeddedServers) -> None:
    with _released(servers.acquire(EmbeddedDirectory(path=None))) as endpoint:
        keeper, pid = _keeper_pid(endpoint), _server_pid(endpoint)
        os.kill(pid, signal.SIGKILL)
        _eventually(lambda: _is_gone(keeper), "the keeper outlives its server")
    assert not Path(endpoint.path).parent.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_goes_with_its_keeper(servers: EmbeddedServers, home: Path, how: signal.Signals) -> None:
    with _released(servers.acquire(_kept(home))) as endpoint:
        pid, keeper = _server_pid(endpoint), _keeper_pid(endpoint)
        assert _say(endpoint, "SET", "a", "1") == "OK"
        os.kill(keeper, how)
        _eventually(lambda: _is_gone(keeper) and _is_gone(pid), "the server outlives its keeper")
        with _released(servers.acquire(_kept(home))) as other:
            assert _say(other, "GET", "a") == "1"


def test_nobody_joins_a_server_whose_keeper_was_just_killed(servers: EmbeddedServers, home: Path) -> None:
    with _released(servers.acquire(_kept(home))) as endpoint:
        pid, keeper = _server_pid(endpoint), _keeper_pid(endpoint)
        os.kill(keeper, signal.SIGKILL)
        _eventually(lambda: _can_take(home / "keeper.lock", fcntl.LOCK_EX), "the keeper is left")
        with _released(servers.acquire(_kept(home))) as other:
            assert _server_pid(other) != pid


def test_a_server_that_outlived_its_keeper_is_replaced(
    servers: EmbeddedServers, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS, whose kernel ends no child with its parent.
    keeper = tmp_path / "keeper.py"
    keeper.write_text(Path(module._KEEPER).read_text().replace('sys.platform == "linux"', "False"))
    monkeypatch.setattr(module, "_KEEPER", str(keeper))
    with _released(servers.acquire(_kept(home))) as endpoint:
        pid = _server_pid(endpoint)
        assert _say(endpoint, "SET", "a", "1") == "OK"
        os.kill(_keeper_pid(endpoint), signal.SIGKILL)
        _eventually(lambda: _can_take(home / "keeper.lock", fcntl.LOCK_EX), "the keeper is left")
        assert _say(endpoint, "GET", "a") == "1"
        with _released(servers.acquire(_kept(home))) as other:
            assert _server_pid(other) != pid
            assert _say(other, "GET", "a") == "1"


def test_a_stuck_server_is_stopped_by_force(servers: EmbeddedServers, home: Path) -> None:
    with _released(servers.acquire(_kept(home))) as endpoint:
        pid = _server_pid(endpoint)
        os.kill(pid, signal.SIGSTOP)
    _eventually(lambda: not _can_take(home / "users.lock", fcntl.LOCK_SH), "the server is not being stopped")
    with _released(servers.acquire(_kept(home))) as endpoint:
        assert _server_pid(endpoint) != pid


def test_a_lost_lease_is_let_go(servers: EmbeddedServers, home: Path) -> None:
    pid = _server_pid(servers.acquire(_kept(home)).endpoint)
    gc.collect()
    _eventually(lambda: _is_gone(pid), "the server is left")


def test_a_forked_child_does_not_hold_the_server(servers: EmbeddedServers, home: Path) -> None:
    lease = servers.acquire(_kept(home))
    server_pid = _server_pid(lease.endpoint)
    reading, writing = os.pipe()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    forked = os.fork()
    if not forked:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    lease.release()
    _eventually(lambda: _is_gone(server_pid), "a child keeps the server")
    os.close(writing)
    os.waitpid(forked, 0)
    child.communicate(b"\n", timeout=10)


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    with ExitStack() as stack:
        # All of them are under way before the first answer is read.
        processes = [stack.enter_context(_python(_USER, str(home))) for _ in range(8)]
        answers = [json.loads(process.stdout.readline()) for process in processes if process.stdout]
        assert len({_server_pid(answer["socket"]) for answer in answers}) == 1
        for process in processes:
            process.communicate("\n", timeout=10)


def test_every_server_that_is_joined_in_a_storm_answers(home: Path) -> None:
    processes = [_python(_STORM, str(home)) for _ in range(4)]
    answers = [line for process in processes for line in process.communicate(timeout=50)[0].split()]
    assert answers == ["+PONG"] * 60


def test_a_program_ends_without_waiting_for_its_server(home: Path) -> None:
    with _user(home) as (process, where):
        pid = _server_pid(where)
        os.kill(pid, signal.SIGSTOP)
        process.communicate("\n", timeout=3)
        assert process.returncode == 0
    os.kill(pid, signal.SIGCONT)


def test_the_starter_finds_no_child_of_ours(servers: EmbeddedServers) -> None:
    with _released(servers.acquire(EmbeddedDirectory(path=None))), pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("name", ["x" * 120, "with space 'and' \"quotes\" %s $HOME", "wörter/und/tiefer"])
def test_any_path_will_do(servers: EmbeddedServers, tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    with _released(servers.acquire(_kept(directory))) as one, _released(servers.acquire(_kept(directory))) as other:
        assert one == other
        assert _say(one, "SET", "a", "1") == "OK"
    with _released(servers.acquire(_kept(directory))) as again:
        assert _say(again, "GET", "a") == "1"
        # A second life in the same place, for those who still use the first one's address.
        os.kill(_server_pid(again), signal.SIGKILL)
        with _released(servers.acquire(_kept(directory))) as anew:
            assert anew == again
    assert (directory / "appendonlydir").is_dir()


def _descriptors(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # The server closes files while they are being listed.
        with suppress(FileNotFoundError):
            yield os.readlink(link)


def test_nothing_but_the_owner_can_reach_it(servers: EmbeddedServers, home: Path) -> None:
    with _released(servers.acquire(_kept(home))) as endpoint:
        assert _say(endpoint, "CONFIG", "GET", "port") == "port|0"
        ours = {name[8:-1] for name in _descriptors(_server_pid(endpoint)) if name.startswith("socket:[")}
        tcp = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
        assert not ours & {fields[9] for fields in tcp}
        assert Path(endpoint.path).stat().st_mode & 0o777 == 0o700
        assert home.stat().st_mode & 0o777 == 0o700
        assert (home / "appendonlydir" / "appendonly.aof.manifest").stat().st_mode & 0o077 == 0
