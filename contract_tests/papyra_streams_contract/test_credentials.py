"""Credentials that are asked for anew with each connection, so that a password may change while the program runs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from papyra_streams import Credentials
from papyra_streams.endpoint import ClusterNodes, CredentialsProvider, SentinelService
from papyra_streams.endpoint import Server as Target
from papyra_streams.errors import AuthenticationFailed, InvalidValue, Unavailable
from papyra_streams.ports import StreamStore

from .backends import OpenBackend, numbers, record_events
from .fixtures import IMPATIENT, OpenStore
from .secrecy import SECRET
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

USER = "rotating"


class Vault:
    """Holds the password that is valid now."""

    def __init__(self) -> None:
        self.version = 1
        self.asked = 0

    @property
    def password(self) -> str:
        """Of this version."""
        return f"{SECRET}-{self.version}"

    def ask(self) -> Credentials:
        """Return who we are now."""
        self.asked += 1
        return Credentials(username=USER, password=self.password)

    async def ask_slowly(self) -> Credentials:
        """Return it a moment later."""
        await asyncio.sleep(0.01)
        return self.ask()


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest_asyncio.fixture(loop_scope="function")
async def rotate(private_wire: Wire, vault: Vault) -> Callable[[], Awaitable[None]]:
    """Return a function that gives the user another password, and ends its connections."""

    async def change() -> None:
        vault.version += 1
        await private_wire("ACL", "SETUSER", USER, "resetpass", f">{vault.password}")
        await private_wire("CLIENT", "KILL", "USER", USER)

    await private_wire("ACL", "SETUSER", USER, "on", f">{vault.password}", "~*", "&*", "+@all")
    return change


def asking(server: PrivateServer, credentials: CredentialsProvider) -> Target:
    """Return what a driver is given that has no password of its own."""
    target = server.target_as(None, None)
    if isinstance(target, ClusterNodes):
        return ClusterNodes(nodes=tuple(replace(node, credentials=credentials) for node in target.nodes))
    if isinstance(target, SentinelService):
        return replace(target, primary=replace(target.primary, credentials=credentials))
    return replace(target, credentials=credentials)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_password_changes_while_the_program_runs(
    open_backend: OpenBackend,
    private_server: PrivateServer,
    vault: Vault,
    rotate: Callable[[], Awaitable[None]],
    *,
    is_async: bool,
) -> None:
    ask = vault.ask_slowly if is_async else vault.ask
    backend = open_backend(url=private_server.url_as(None, None), credentials=ask)
    for _ in range(3):
        await record_events(backend, 2)
        await rotate()

    assert await numbers(backend) == [0, 1] * 3
    assert backend.metrics.write_errors == 0
    assert SECRET not in f"{backend.config!r}"


async def test_it_is_asked_for_each_connection_and_no_more(
    open_store: OpenStore, private_server: PrivateServer, vault: Vault, rotate: Callable[[], Awaitable[None]]
) -> None:
    store = open_store(asking(private_server, vault.ask), IMPATIENT)
    for _ in range(10):
        await store.length("stream")
    before = vault.asked
    await rotate()
    await until_it_answers(store)

    assert before <= 2
    assert vault.asked > before


async def until_it_answers(store: StreamStore) -> None:
    """Ask again until a connection that was ended is noticed."""
    async with asyncio.timeout(5):
        while True:
            try:
                await store.length("stream")
            except Exception:  # noqa: BLE001 -- which error that is, is told elsewhere
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_former_password_is_told_and_the_next_one_taken(
    open_store: OpenStore, private_server: PrivateServer, vault: Vault, rotate: Callable[[], Awaitable[None]]
) -> None:
    await rotate()
    vault.version -= 1
    store = open_store(asking(private_server, vault.ask), IMPATIENT)
    with pytest.raises(AuthenticationFailed):
        await store.length("stream")
    vault.version += 1

    assert await store.length("stream") == 0


def broken() -> Credentials:
    """Fail as a vault does that is away, with more in its message than should be."""
    raise OSError(f"no vault for {SECRET}")


async def silent() -> Credentials:
    """Take longer than anybody waits."""
    await asyncio.sleep(60)
    return Credentials()


@pytest.mark.parametrize("credentials", [broken, silent])
async def test_what_gives_no_credentials_is_an_outage(
    open_store: OpenStore, private_server: PrivateServer, credentials: CredentialsProvider
) -> None:
    store = open_store(asking(private_server, credentials), IMPATIENT)

    async with asyncio.timeout(10):
        with pytest.raises(Unavailable) as caught:
            await store.length("stream")
    assert SECRET not in str(caught.value)


async def test_what_returns_something_else_is_a_mistake(open_store: OpenStore, private_server: PrivateServer) -> None:
    store = open_store(asking(private_server, lambda: ("ops", SECRET)), IMPATIENT)  # type: ignore[arg-type,return-value]  # that is the mistake

    with pytest.raises(InvalidValue, match="must return Credentials, not tuple"):
        await store.length("stream")
