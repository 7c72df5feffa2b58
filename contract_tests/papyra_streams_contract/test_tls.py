"""TLS: whom a driver speaks to, what it shows, and what it says of a server that it does not trust."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfile
from urllib.parse import urlencode

import anyio
import pytest

from papyra_streams import drivers, endpoint
from papyra_streams.errors import Indeterminate, StreamsError, Unavailable
from papyra_streams.ports import StreamStore

from . import needs
from .fixtures import IMPATIENT, MakePrivateServer
from .matrix import Target
from .servers import Server, target_of
from .topologies.certificates import Authority, Certificate
from .topologies.tls import HOST, TlsSource

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.topologies("tls", reason="no server shows a certificate"),
]

_DAY = timedelta(days=1)
_SOON = IMPATIENT.connect + IMPATIENT.command + 1.0

Program = Callable[[StreamStore], Awaitable[None]]
Run = Callable[[endpoint.Server, Program], Awaitable[None]]
"""Let a program have a store, on the event loop that is under test."""


@pytest.fixture(params=["asyncio", pytest.param("trio", marks=needs("trio"))])
def run(request: pytest.FixtureRequest, driver_name: str, store: StreamStore) -> Run:  # noqa: ARG001 -- tells whether it has trio
    """Return a function that runs a program."""

    async def run(server: endpoint.Server, program: Program) -> None:
        async def in_event_loop() -> None:
            store = drivers.load(driver_name)(server, IMPATIENT)
            try:
                await program(store)
            finally:
                await store.aclose()

        await asyncio.to_thread(lambda: anyio.run(in_event_loop, backend=request.param))

    return run


@pytest.fixture
def source(target: Target) -> TlsSource:
    """Return where the servers are from."""
    assert isinstance(target.source, TlsSource)
    return target.source


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority that a client trusts, unless it names another file."""
    return Authority(tmp_path, "authority")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Return an authority that nobody trusts."""
    return Authority(tmp_path, "stranger")


@pytest.fixture
def serve(
    make_private_server: MakePrivateServer, source: TlsSource, authority: Authority, tmp_path: Path
) -> Callable[..., Server]:
    """Return a function that starts servers which show a certificate, and may ask for one of the authority's."""
    asked = tmp_path / "asked.pem"
    # The suite looks whether the server answers.
    asked.write_bytes(authority.file.read_bytes() + source.authority.file.read_bytes())

    def serve(shown: Certificate, *, asks_clients: bool = False) -> Server:
        asking = {"tls-ca-cert-file": str(asked), "tls-auth-clients": "yes" if asks_clients else "no"}
        return make_private_server(settings={**shown.settings, **asking})

    return serve


Serve = Callable[..., Server]


def through_tls(server: Server, **files: Path) -> endpoint.Server:
    """Return what a driver is given that trusts and shows these files."""
    options = urlencode({name: str(path) for name, path in files.items()})
    return target_of(f"rediss://{HOST}:{server.endpoint.port}/0?{options}")


async def ping(store: StreamStore) -> None:
    """Have the server answer."""
    await store.ping()


async def test_a_server_whose_certificate_an_authority_signed_that_is_trusted_is_used(
    run: Run, serve: Serve, authority: Authority
) -> None:
    server = serve(authority.issue("server", HOST))

    await run(through_tls(server, ca=authority.file), ping)


async def test_an_authority_that_the_system_does_not_trust_has_to_be_named(
    run: Run, serve: Serve, authority: Authority
) -> None:
    server = serve(authority.issue("server", HOST))

    with pytest.raises(Unavailable, match="(local issuer|self-signed) certificate"):
        await run(through_tls(server), ping)


NO_GOOD: dict[str, tuple[Callable[[Authority, Authority], Certificate], str]] = {
    "of another host": (
        lambda authority, _: authority.issue("server", "example.org"),
        f"not valid for '{HOST}'",
    ),
    "expired": (
        lambda authority, _: authority.issue("server", HOST, not_after=datetime.now(UTC) - _DAY),
        "certificate has expired",
    ),
    "not yet valid": (
        lambda authority, _: authority.issue("server", HOST, not_before=datetime.now(UTC) + _DAY),
        "certificate is not yet valid",
    ),
    "signed by itself": (lambda _, stranger: stranger.own, "self-signed certificate"),
    "signed by a stranger": (
        lambda _, stranger: stranger.issue("server", HOST),
        "unable to get local issuer certificate",
    ),
}


@pytest.mark.parametrize(("issued", "reason"), NO_GOOD.values(), ids=NO_GOOD.keys())
async def test_a_certificate_that_is_no_good_is_refused_and_it_is_said_why(
    run: Run,
    serve: Serve,
    authority: Authority,
    stranger: Authority,
    issued: Callable[[Authority, Authority], Certificate],
    reason: str,
) -> None:
    server = serve(issued(authority, stranger))

    with pytest.raises(Unavailable, match=reason):
        await run(through_tls(server, ca=authority.file), ping)


# -- certificates of clients


async def test_a_server_that_asks_for_a_certificate_is_shown_it(run: Run, serve: Serve, authority: Authority) -> None:
    server = serve(authority.issue("server", HOST), asks_clients=True)
    mine = authority.issue("mine", "me")

    await run(through_tls(server, ca=authority.file, cert=mine.cert, key=mine.key), ping)


async def test_the_key_may_stand_in_the_file_of_its_certificate(
    run: Run, serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    server = serve(authority.issue("server", HOST), asks_clients=True)
    mine = authority.issue("mine", "me")
    both = tmp_path / "both.pem"
    both.write_bytes(mine.key.read_bytes() + mine.cert.read_bytes())

    await run(through_tls(server, ca=authority.file, cert=both), ping)


@pytest.mark.parametrize("shows", [False, True], ids=["none", "a stranger's"])
async def test_who_does_not_show_what_the_server_asks_for_is_not_let_in(
    run: Run, serve: Serve, authority: Authority, stranger: Authority, *, shows: bool
) -> None:
    server = serve(authority.issue("server", HOST), asks_clients=True)
    mine = stranger.issue("mine", "me")
    shown = {"cert": mine.cert, "key": mine.key} if shows else {}
    begun = time.monotonic()

    with pytest.raises((Unavailable, Indeterminate)):
        await run(through_tls(server, ca=authority.file, **shown), ping)
    assert time.monotonic() - begun < _SOON


# -- certificates that are renewed


async def test_an_authority_that_takes_the_place_of_another_is_trusted_from_then_on(
    run: Run, serve: Serve, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    server = serve(authority.issue("server", HOST))
    trusted = tmp_path / "trusted.pem"
    copyfile(stranger.file, trusted)

    async def renew(store: StreamStore) -> None:
        with pytest.raises(Unavailable):
            await store.ping()
        copyfile(authority.file, trusted)
        await store.ping()

    await run(through_tls(server, ca=trusted), renew)


async def test_a_certificate_that_takes_the_place_of_another_is_shown_from_then_on(
    run: Run, serve: Serve, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    server = serve(authority.issue("server", HOST), asks_clients=True)
    shown = Certificate(cert=tmp_path / "shown.pem", key=tmp_path / "shown-key.pem")
    _replace(shown, stranger.issue("former", "me"))

    async def renew(store: StreamStore) -> None:
        with pytest.raises(StreamsError):
            await store.ping()
        _replace(shown, authority.issue("present", "me"))
        await store.ping()

    await run(through_tls(server, ca=authority.file, cert=shown.cert, key=shown.key), renew)


def _replace(former: Certificate, present: Certificate) -> None:
    copyfile(present.cert, former.cert)
    copyfile(present.key, former.key)


# -- where one side expects TLS, and the other does not


async def test_a_server_without_tls_ends_a_handshake_with_it_soon(run: Run, source: TlsSource) -> None:
    plain = source.single.private()
    try:
        await _fails_soon(run, through_tls(plain))
    finally:
        plain.stop()


async def test_a_server_with_tls_ends_a_conversation_without_it_soon(
    run: Run, serve: Serve, authority: Authority
) -> None:
    server = serve(authority.issue("server", HOST))

    await _fails_soon(run, target_of(f"redis://{HOST}:{server.endpoint.port}/0"))


async def _fails_soon(run: Run, server: endpoint.Server) -> None:
    begun = time.monotonic()
    with pytest.raises((Unavailable, Indeterminate)):
        await run(server, ping)
    assert time.monotonic() - begun < _SOON
