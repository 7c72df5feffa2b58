"""What each refusal of the server is called."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from papyra_streams.domain.entries import EntryId
from papyra_streams.errors import (
    AuthenticationFailed,
    OutOfMemory,
    PermissionDenied,
    Rejected,
    StreamsError,
    Unavailable,
    WrongType,
)
from papyra_streams.ports import BadEntry, StreamStore

from . import takes_replicaof
from .arranging import fill, mark
from .fixtures import IMPATIENT, OpenStore
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

ODD = f"{SECRET}/%@:#"

CALLS: dict[str, Callable[[StreamStore, str], Awaitable[object]]] = {
    "append": lambda store, key: store.append(key, [b"a"], mark=mark(key, 1)),
    "newest": lambda store, key: store.newest(key, count=1),
    "length": lambda store, key: store.length(key),
    "create_group": lambda store, key: store.create_group(key, "workers", start="0"),
    "read_group": lambda store, key: store.read_group(key, "workers", "me", count=1),
    "read_group held": lambda store, key: store.read_group(key, "workers", "me", count=1, block_ms=100),
    "acknowledge": lambda store, key: store.acknowledge(key, "workers", [EntryId(1, 0)]),
    "claim": lambda store, key: store.claim(key, "workers", "me", min_idle_ms=0, ids=[EntryId(1, 0)]),
    "pending": lambda store, key: store.pending(key, "workers"),
    "groups": lambda store, key: store.groups(key),
    "retire": lambda store, key: store.retire(key, [BadEntry(EntryId(1, 0), "bad")], quarantine=None, moment=0.0),
    "trim": lambda store, key: store.trim(key, keep_from=EntryId(1, 0), approximate=False),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_key_that_holds_no_stream_is_of_the_wrong_type(
    store: StreamStore, stream: str, wire: Wire, call: Callable[[StreamStore, str], Awaitable[object]]
) -> None:
    await wire("SET", stream, "text")

    with pytest.raises(WrongType):
        await call(store, stream)


async def test_a_failed_append_leaves_the_key_as_it_was(store: StreamStore, stream: str, wire: Wire) -> None:
    await wire("SET", stream, "text")
    with pytest.raises(WrongType):
        await store.append(stream, [b"a"], mark=mark(stream, 1))

    assert await wire("GET", stream) == b"text"


async def test_a_batch_that_failed_may_be_sent_again(store: StreamStore, stream: str, wire: Wire) -> None:
    await wire("SET", stream, "text")
    with pytest.raises(WrongType):
        await store.append(stream, [b"a"], mark=mark(stream, 1))
    await wire("DEL", stream)

    assert (await store.append(stream, [b"a"], mark=mark(stream, 1))).count == 1


async def test_an_error_carries_the_servers_code(store: StreamStore, stream: str, wire: Wire) -> None:
    await wire("SET", stream, "text")

    with pytest.raises(WrongType) as caught:
        await store.length(stream)
    assert caught.value.code == "WRONGTYPE"


async def test_what_the_server_refuses_otherwise_is_rejected(store: StreamStore, stream: str) -> None:
    with pytest.raises(Rejected):
        await store.create_group(stream, "workers", start="no id")


async def test_an_error_has_the_clients_own_as_its_cause(store: StreamStore, stream: str) -> None:
    with pytest.raises(Rejected) as caught:
        await store.create_group(stream, "workers", start="no id")

    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__, StreamsError)


@pytest.mark.parametrize("password", [f"wrong-{ODD}", None], ids=["wrong", "missing"])
async def test_a_wrong_or_missing_password_fails_authentication(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire, password: str | None
) -> None:
    await private_wire("CONFIG", "SET", "requirepass", SECRET)
    store = open_store(private_server.target_as(None, password), IMPATIENT)

    with pytest.raises(AuthenticationFailed):
        await store.ping()


async def test_an_unknown_user_fails_authentication(open_store: OpenStore, private_server: PrivateServer) -> None:
    store = open_store(private_server.target_as("nobody", SECRET), IMPATIENT)

    with pytest.raises(AuthenticationFailed):
        await store.ping()


async def test_a_held_read_fails_authentication_too(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire
) -> None:
    await private_wire("CONFIG", "SET", "requirepass", SECRET)
    store = open_store(private_server.target_as(None, f"wrong-{ODD}"), IMPATIENT)

    with pytest.raises(AuthenticationFailed):
        await store.read_group("stream", "workers", "me", count=1, block_ms=100)


@pytest.mark.parametrize("username", [None, "alice"])
async def test_the_right_password_lets_in_whatever_characters_it_has(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire, username: str | None
) -> None:
    await private_wire("ACL", "SETUSER", "alice", "on", f">{ODD}", "~*", "+@all")
    await private_wire("CONFIG", "SET", "requirepass", ODD)
    store = open_store(private_server.target_as(username, ODD), IMPATIENT)

    await store.ping()


async def test_no_error_shows_the_password(open_store: OpenStore, private_server: PrivateServer) -> None:
    store = open_store(private_server.target_as("nobody", SECRET), IMPATIENT)
    with pytest.raises(AuthenticationFailed) as caught:
        await store.ping()

    assert SECRET not in repr(caught.value) + repr(store) + str(store)


@pytest.mark.parametrize(("call", "command"), [("length", "xlen"), ("pending", "xpending"), ("newest", "xrevrange")])
async def test_a_forbidden_command_is_denied_by_name(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire, call: str, command: str
) -> None:
    await private_wire("ACL", "SETUSER", "bob", "on", f">{SECRET}", "~*", "+@all", f"-{command}")
    store = open_store(private_server.target_as("bob", SECRET), IMPATIENT)

    with pytest.raises(PermissionDenied, match=f"(?i){command}"):
        await CALLS[call](store, "stream")


@pytest.mark.parametrize(("call", "command"), [("append", "xadd"), ("trim", "xtrim"), ("retire", "xdel")])
async def test_a_command_forbidden_within_a_step_is_denied(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire, call: str, command: str
) -> None:
    await fill(private_wire, "stream", 3)
    await private_wire("ACL", "SETUSER", "bob", "on", f">{SECRET}", "~*", "+@all", f"-{command}")
    store = open_store(private_server.target_as("bob", SECRET), IMPATIENT)

    with pytest.raises(PermissionDenied):
        await CALLS[call](store, "stream")


async def test_a_forbidden_key_is_denied(
    open_store: OpenStore, private_server: PrivateServer, private_wire: Wire
) -> None:
    await private_wire("ACL", "SETUSER", "bob", "on", f">{SECRET}", "~mine:*", "+@all")
    store = open_store(private_server.target_as("bob", SECRET), IMPATIENT)

    assert await store.length("mine:stream") == 0
    with pytest.raises(PermissionDenied):
        await store.length("yours:stream")


async def test_a_full_server_refuses_to_append_and_keeps_nothing(
    private_store: StreamStore, private_wire: Wire
) -> None:
    await private_store.append("stream", [b"a"], mark=mark("stream", 1))
    await private_wire("CONFIG", "SET", "maxmemory", "1")

    with pytest.raises(OutOfMemory):
        await private_store.append("stream", [b"b"], mark=mark("stream", 2))
    assert await private_store.length("stream") == 1


async def test_a_full_server_takes_the_same_batch_once_there_is_room(
    private_store: StreamStore, private_wire: Wire
) -> None:
    await private_wire("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(OutOfMemory):
        await private_store.append("stream", [b"a"], mark=mark("stream", 1))
    await private_wire("CONFIG", "SET", "maxmemory", "0")

    assert (await private_store.append("stream", [b"a"], mark=mark("stream", 1))).count == 1


async def test_a_full_server_still_trims(private_store: StreamStore, private_wire: Wire) -> None:
    ids = await fill(private_wire, "stream", 3)
    await private_wire("CONFIG", "SET", "maxmemory", "1")

    assert (await private_store.trim("stream", keep_from=ids[2], approximate=False)).removed == 2


@takes_replicaof
async def test_a_replica_that_takes_no_writes_is_unavailable(private_store: StreamStore, private_wire: Wire) -> None:
    await private_wire("REPLICAOF", "127.0.0.1", "1")

    with pytest.raises(Unavailable):
        await private_store.append("stream", [b"a"], mark=mark("stream", 1))


async def test_a_server_busy_with_a_script_is_unavailable(
    private_store: StreamStore, private_wire: Wire, private_server: PrivateServer
) -> None:
    await private_store.ping()
    await private_wire("CONFIG", "SET", "lua-time-limit", 10)
    busy = asyncio.create_task(private_wire("EVAL", "while true do end", 0))
    await asyncio.sleep(0.1)

    with pytest.raises(Unavailable):
        await private_store.length("stream")
    private_server.kill()
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await busy


async def test_other_calls_go_on_after_one_was_refused(store: StreamStore, stream: str, wire: Wire) -> None:
    await wire("SET", stream, "text")
    outcomes = await asyncio.gather(
        *(store.length(stream if number % 2 else f"{stream}:other") for number in range(50)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [int, WrongType] * 25
