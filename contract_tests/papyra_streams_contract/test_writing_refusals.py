"""The server answers, and refuses: for a while, or until somebody puts it right."""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from .arranging import eventually
from .faults.arranging import living_on, says
from .faults.checking import STREAMS, check_nothing_lost
from .faults.living import LivingSystem
from .fixtures import MakePrivateServer
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire, WireError

pytestmark = pytest.mark.asyncio(loop_scope="function")

EVENTS = STREAMS[0]


@pytest.fixture
def run(private_server: PrivateServer, driver_name: str, tmp_path: Path) -> LivingSystem:
    """Return a living system with a spool."""
    return living_on(private_server.url, driver_name, tmp_path / "spool")


async def test_a_full_server_is_waited_for(
    run: LivingSystem, private_server: PrivateServer, private_wire: Wire
) -> None:
    used = await _used_memory(private_wire)
    await private_wire("CONFIG", "SET", "maxmemory-policy", "noeviction")
    async with run.at_work():
        await run.returned(200)
        await private_wire("CONFIG", "SET", "maxmemory", used + 256 * 1024)
        await run.spooled(300)
        await private_wire("CONFIG", "SET", "maxmemory", 0)
        await run.recovered()
    await check_nothing_lost(run, private_server.endpoint)


async def _used_memory(wire: Wire) -> int:
    for line in (await wire.text("INFO", "memory")).splitlines():
        if line.startswith(b"used_memory:"):
            return int(line.partition(b":")[2])
    raise AssertionError("INFO does not say how much memory is used")


@pytest.mark.parametrize("password", [None, SECRET], ids=["NOAUTH", "WRONGPASS"])
async def test_a_password_that_was_changed_and_is_put_right_costs_nothing(
    private_server: PrivateServer, private_wire: Wire, driver_name: str, tmp_path: Path, password: str | None
) -> None:
    rights = "nopass" if password is None else f">{password}"
    await private_wire("ACL", "SETUSER", "default", "resetpass", rights)
    run = living_on(private_server.url_as(None, password), driver_name, tmp_path / "spool")
    async with run.at_work():
        await run.returned(200)
        await private_wire("ACL", "SETUSER", "default", "resetpass", f">rotated-{SECRET}")
        await private_wire("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await run.spooled(300)
        await private_wire("ACL", "SETUSER", "default", "resetpass", rights)
        await run.recovered()
    await check_nothing_lost(run, replace(private_server.endpoint, password=password))


async def test_a_key_of_another_type_sends_records_to_the_spool_until_it_is_moved_away(
    run: LivingSystem, private_server: PrivateServer, private_wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    async with run.at_work():
        await run.returned(200)
        # In one step, since there is always somebody who writes.
        await private_wire("EVAL", _PUT_IN_THE_WAY, 2, EVENTS, ASIDE)
        await run.spooled(300)
        said = _said_of(caplog, EVENTS)
        await private_wire("RENAME", ASIDE, EVENTS)
        await run.recovered()
    assert len(said) == 1, said
    assert "WRONGTYPE" in said[0] or "something else" in said[0], said
    await check_nothing_lost(run, private_server.endpoint)


# Where the stream is, in a cluster.
ASIDE = f"aside:{{{EVENTS}}}"
_PUT_IN_THE_WAY = "redis.call('RENAME', KEYS[1], KEYS[2]) redis.call('SET', KEYS[1], 'in the way')"


async def test_a_right_that_is_missing_sends_records_to_the_spool_until_it_is_granted(
    private_server: PrivateServer,
    private_wire: Wire,
    driver_name: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await private_wire("ACL", "SETUSER", "writer", "on", f">{SECRET}", "~*", "&*", "+@all")
    run = living_on(private_server.url_as("writer", SECRET), driver_name, tmp_path / "spool")
    async with run.at_work():
        await run.returned(200)
        await private_wire("ACL", "SETUSER", "writer", "-xadd")
        await run.spooled(300)
        said = [_said_of(caplog, stream) for stream in STREAMS]
        await private_wire("ACL", "SETUSER", "writer", "+xadd")
        await run.recovered()
    assert [len(lines) for lines in said] == [1, 1], said
    await check_nothing_lost(run, private_server.endpoint)


def _said_of(caplog: pytest.LogCaptureFixture, stream: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "papyra_streams" and record.levelno >= logging.WARNING and stream in record.getMessage()
    ]


async def test_a_server_busy_with_a_script_is_waited_for(
    run: LivingSystem, private_server: PrivateServer, private_wire: Wire
) -> None:
    await private_wire("CONFIG", "SET", "lua-time-limit", 100)
    async with run.at_work():
        await run.returned(200)
        running = asyncio.create_task(_run_script(private_server, "while true do end"))
        await run.spooled(300)
        await private_wire("SCRIPT", "KILL")
        await run.recovered()
    assert "SCRIPT KILL" in await running
    await check_nothing_lost(run, private_server.endpoint)


async def _run_script(server: PrivateServer, script: str) -> str:
    async with aclosing(Wire(server.endpoint)) as wire:
        with pytest.raises(WireError) as raised:
            await wire("EVAL", script, 0)
    return str(raised.value)


async def test_a_server_that_cannot_save_is_waited_for(
    make_private_server: MakePrivateServer, private_wire: Wire, driver_name: str, tmp_path: Path
) -> None:
    # Since Redis 7.0 the directory may be set only where that is allowed at the start.
    guarded = await private_wire.rows("CONFIG", "GET", "enable-protected-configs")
    server = make_private_server(settings={"enable-protected-configs": "yes"} if guarded else {})
    run = living_on(server.url, driver_name, tmp_path / "spool")
    async with aclosing(Wire(server.endpoint)) as wire, run.at_work():
        await run.returned(200)
        _, directory = await wire.rows("CONFIG", "GET", "dir")
        assert isinstance(directory, bytes)
        await wire("CONFIG", "SET", "save", "3600 1000000")
        await _save_to(wire, "/proc", outcome="err")
        await run.spooled(300)
        await _save_to(wire, directory, outcome="ok")
        await run.recovered()
    await check_nothing_lost(run, server.endpoint)


async def _save_to(wire: Wire, directory: bytes | str, *, outcome: str) -> None:
    await wire("CONFIG", "SET", "dir", directory)
    await wire("BGSAVE")
    await says(wire, "persistence", f"rdb_last_bgsave_status:{outcome}")


async def test_a_server_that_loads_its_data_is_waited_for(
    make_private_server: MakePrivateServer, driver_name: str, tmp_path: Path
) -> None:
    # A microsecond setting that servers have for their own tests: loading takes about four seconds.
    server = make_private_server(settings={"key-load-delay": "500"}, keeps_data=True)
    async with aclosing(Wire(server.endpoint)) as wire:
        await wire("EVAL", "for number = 1, 6000 do redis.call('SET', number, number) end", 0)
    run = living_on(server.url, driver_name, tmp_path / "spool")
    async with run.at_work():
        await run.returned(200)
        server.kill()
        starting = asyncio.create_task(server.start_beside())
        await eventually(lambda: _is_loading(server), within=10.0)
        await run.spooled(300)
        await starting
        await run.recovered()
    await check_nothing_lost(run, server.endpoint)


async def _is_loading(server: PrivateServer) -> bool:
    try:
        async with aclosing(Wire(server.endpoint)) as wire:
            await wire("PING")
    except WireError as error:
        return str(error).startswith("LOADING")
    except OSError:
        return False
    return False
