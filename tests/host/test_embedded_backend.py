"""A backend and the embedded server it brought to life, from its start to its end."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from papyra import ActorSystem

from papyra_streams import Closed, RedisStreamsConfig, RedisStreamsPersistence

EVENT = {"event_type": "ActorStarted", "timestamp": 1.0}


def backend_on(directory: Path, driver: str) -> RedisStreamsPersistence:
    return RedisStreamsPersistence(RedisStreamsConfig(url=f"embedded://{directory}", driver=driver))


def say(directory: Path, command: str) -> bytes:
    """Send one command to the server of a directory; nothing comes back where there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2.0)
            connection.connect(str(directory / "valkey.sock"))
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536)
    except OSError:
        return b""


def wait_until_gone(directory: Path) -> None:
    deadline = time.monotonic() + 10.0
    while say(directory, "PING"):
        assert time.monotonic() < deadline, "the server did not stop"
        time.sleep(0.01)


@pytest.mark.asyncio
async def test_the_server_stops_when_the_backend_closes(tmp_path: Path, driver: str) -> None:
    backend = backend_on(tmp_path, driver)
    await backend.record_event(EVENT)
    assert say(tmp_path, "PING") == b"+PONG\r\n"
    await backend.aclose()
    wait_until_gone(tmp_path)


@pytest.mark.asyncio
async def test_a_backend_that_is_closed_while_its_server_starts_leaves_none(tmp_path: Path, driver: str) -> None:
    backend = backend_on(tmp_path, driver)
    recording = asyncio.create_task(backend.record_event(EVENT))
    reading = asyncio.create_task(backend.list_events())
    await asyncio.sleep(0.01)
    await backend.aclose()
    await recording
    with pytest.raises(Closed):
        await reading
    assert (backend.metrics.records_written, backend.metrics.write_errors) == (0, 1)
    wait_until_gone(tmp_path)


@pytest.mark.asyncio
async def test_a_server_that_was_killed_is_started_again_with_its_data(tmp_path: Path, driver: str) -> None:
    backend = backend_on(tmp_path, driver)
    await backend.record_event(EVENT)
    pid = int(say(tmp_path, "INFO server").split(b"process_id:")[1].split()[0])
    os.kill(pid, signal.SIGKILL)
    await backend.record_event(EVENT)
    assert len(await backend.list_events()) == 2
    assert backend.metrics.write_errors == 0
    await backend.aclose()
    wait_until_gone(tmp_path)


@pytest.mark.asyncio
async def test_a_directory_that_cannot_be_used_costs_records_and_not_the_actor_system(
    tmp_path: Path, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a directory")
    backend = backend_on(occupied, driver)
    async with ActorSystem(persistence=backend) as system:
        system.audit()
    assert backend.metrics.write_errors == 1
    assert "is lost" in caplog.text
    assert str(occupied) in caplog.text
