"""Clients that the user has built: where they lead, and who the user is there."""

import re
import ssl
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import coredis
import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import valkey.asyncio
from coredis.connection import TCPConnection, TCPLocation
from coredis.credentials import AbstractCredentialProvider, UserPass
from coredis.pool import ConnectionPool
from redis.cluster import LoadBalancingStrategy
from redis.credentials import CredentialProvider

from papyra_streams import Credentials, RedisStreamsConfig, RedisStreamsPersistence, drivers
from papyra_streams.endpoint import ClusterNodes, Endpoint, SentinelService, Server
from papyra_streams.errors import InvalidValue

FAMILY = [(redis.asyncio.Redis, redis.asyncio.RedisCluster), (valkey.asyncio.Valkey, valkey.asyncio.ValkeyCluster)]
SENTINELS = [redis.asyncio.Sentinel, valkey.asyncio.Sentinel]

# One that nobody ever enters leaves streams unclosed where it is collected, of which it warns.
COREDIS_CLUSTER: coredis.RedisCluster[str] = coredis.RedisCluster(
    startup_nodes=[TCPLocation("h", 7000), TCPLocation("i", 7001)], password="one"
)


def server_of(client: object) -> Server:
    """Return where it leads."""
    return drivers.adopt(client)[1]


@pytest.mark.parametrize("single", [redis.asyncio.Redis, valkey.asyncio.Valkey, coredis.Redis])
def test_a_client_leads_to_a_server(single: Any) -> None:
    client = single(host="h", port=7000, db=3, username="ops", password="one")

    assert server_of(client) == Endpoint(host="h", port=7000, database=3, username="ops", password="one")


@pytest.mark.parametrize("library", [redis.asyncio, valkey.asyncio])
def test_what_a_client_was_not_told_is_what_it_takes_for_granted(library: Any) -> None:
    assert server_of(library.from_url("redis://")) == Endpoint(host="localhost")
    assert server_of(library.from_url("redis://", port="7000")) == Endpoint(host="localhost", port=7000)


@pytest.mark.parametrize(
    "client",
    [
        redis.asyncio.Redis(unix_socket_path="/run/redis.sock", db=1),
        valkey.asyncio.Valkey(unix_socket_path="/run/redis.sock", db=1),
        redis.asyncio.from_url("unix:///run/redis.sock?db=1"),
        coredis.Redis(unix_socket_path="/run/redis.sock", db=1),
    ],
    ids=["redis", "valkey", "redis-url", "coredis"],
)
def test_a_client_leads_to_a_socket(client: object) -> None:
    assert server_of(client) == Endpoint(path="/run/redis.sock", database=1)


@pytest.mark.parametrize(("single", "cluster"), FAMILY)
def test_a_client_leads_to_a_cluster(single: Any, cluster: Any) -> None:
    client = cluster(host="h", port="7000", username="ops", password="one")

    assert single is not cluster
    assert server_of(client) == ClusterNodes(nodes=(Endpoint(host="h", port=7000, username="ops", password="one"),))


@pytest.mark.parametrize(
    "client",
    [
        redis.asyncio.RedisCluster(host="h", load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN),
        valkey.asyncio.ValkeyCluster(host="h", read_from_replicas=True),
    ],
    ids=["redis", "valkey"],
)
def test_a_client_may_read_from_replicas(client: object) -> None:
    assert server_of(client) == ClusterNodes(nodes=(Endpoint(host="h"),))


def test_a_client_of_coredis_leads_to_a_cluster() -> None:
    assert server_of(COREDIS_CLUSTER) == ClusterNodes(
        nodes=(Endpoint(host="h", port=7000, password="one"), Endpoint(host="i", port=7001, password="one"))
    )


@pytest.mark.parametrize("sentinels", SENTINELS)
def test_a_client_leads_to_what_sentinels_watch(sentinels: Any) -> None:
    watching = sentinels([("h", 1), ("i", 2)], sentinel_kwargs={"password": "two"}, password="one")

    assert server_of(watching.master_for("orders", db=3)) == SentinelService(
        name="orders",
        sentinels=(Endpoint(host="h", port=1, password="two"), Endpoint(host="i", port=2, password="two")),
        primary=Endpoint(database=3, password="one"),
    )
    with pytest.raises(InvalidValue, match="leads to replicas"):
        server_of(watching.slave_for("orders"))


def test_a_client_of_coredis_leads_to_what_sentinels_watch() -> None:
    watching = coredis.Sentinel([TCPLocation("h", 1)], sentinel_kwargs={"password": "two"}, password="one")

    assert server_of(watching.primary_for("orders")) == SentinelService(
        name="orders",
        sentinels=(Endpoint(host="h", port=1, password="two"),),
        primary=Endpoint(password="one"),
    )
    with pytest.raises(InvalidValue, match="leads to replicas"):
        server_of(watching.replica_for("orders"))


class Tunnel(redis.asyncio.Connection):
    """Connects as the user wants it."""


class TunnelOfValkey(valkey.asyncio.Connection):
    """Connects as the user wants it."""


class TunnelOfCoredis(TCPConnection):
    """Connects as the user wants it."""


SENTINEL: Any = redis.asyncio.Sentinel


class Elsewhere(redis.asyncio.Sentinel):
    """Finds the primary as the user wants it."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        return service_name, 1


class ElsewhereOfCoredis(coredis.Sentinel[bytes]):
    """Finds the primary as the user wants it."""

    async def discover_primary(self, service_name: str) -> tuple[str, int]:
        return service_name, 1


def begin(connection: object) -> None:
    """Begin each connection as the user wants it."""


def swap(address: tuple[str, int]) -> tuple[str, int]:
    """Lead elsewhere."""
    return address


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (redis.asyncio.RedisCluster(host="h", address_remap=swap), "an `address_remap`, which cannot be followed"),
        (valkey.asyncio.ValkeyCluster(host="h", address_remap=swap), "(`cluster-announce-ip`)"),
        (SENTINEL([("h", 1)], force_master_ip="i").master_for("o"), "a `force_master_ip`, which cannot"),
        (
            cast(Any, Elsewhere)([("h", 1)]).master_for("o"),
            "finds the primary with Elsewhere.discover_master, which cannot",
        ),
        (ElsewhereOfCoredis([TCPLocation("h", 1)]).primary_for("o"), "ElsewhereOfCoredis.discover_primary, which"),
        (redis.asyncio.Redis(redis_connect_func=begin), "begins connections with begin, which cannot be followed"),
        (valkey.asyncio.Valkey(valkey_connect_func=partial(begin)), "begins connections with partial, which cannot"),
        (
            redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool(connection_class=Tunnel)),
            "connects with Tunnel, which cannot be followed: use `url` and `credentials`.",
        ),
        (
            valkey.asyncio.Valkey(connection_pool=valkey.asyncio.ConnectionPool(connection_class=TunnelOfValkey)),
            "connects with TunnelOfValkey",
        ),
        (
            coredis.Redis(
                connection_pool=ConnectionPool(connection_class=TunnelOfCoredis, location=TCPLocation("h", 1))
            ),
            "connects with TunnelOfCoredis",
        ),
        (coredis.Sentinel([TCPLocation("h", 1)], ssl=True).primary_for("o"), "give it an `ssl_context`"),
        (redis.asyncio.Redis(ssl=True, ssl_certfile="/nowhere"), "settings for TLS that cannot be used: [Errno 2]"),
        (valkey.asyncio.Valkey(ssl=True, ssl_ca_certs="/nowhere"), "settings for TLS that cannot be used: [Errno 2]"),
    ],
)
def test_a_client_that_goes_ways_of_its_own_is_refused(client: object, message: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(message)):
        RedisStreamsPersistence(client=client)


def contexts(server: Server) -> Iterable[ssl.SSLContext | None]:
    """Return the contexts for TLS of a server."""
    assert isinstance(server, Endpoint)
    yield server.tls.context if server.tls else None


def test_what_a_client_verifies_is_what_is_verified() -> None:
    own = ssl.create_default_context()
    (with_name,) = contexts(server_of(redis.asyncio.Redis(host="h", ssl=True)))
    (without,) = contexts(server_of(valkey.asyncio.Valkey(host="h", ssl=True, ssl_check_hostname=False)))
    (given,) = contexts(server_of(coredis.Redis(host="h", ssl_context=own)))

    assert with_name
    assert with_name.check_hostname
    assert without
    assert not without.check_hostname
    assert given is own


UNVERIFIED = [
    (redis.asyncio.Redis(host="h", ssl=True, ssl_cert_reqs="none"), "every certificate", "rediss://h:6379/0"),
    (valkey.asyncio.Valkey(host="h", ssl=True), "certificates of every host", "rediss://h:6379/0"),
    (
        valkey.asyncio.ValkeyCluster(host="h", port=1, ssl=True),
        "certificates of every host",
        "rediss+cluster://h:1",
    ),
    (
        SENTINEL(
            [("h", 1), ("i", 2)],
            sentinel_kwargs={"ssl": True, "ssl_cert_reqs": "none"},
            ssl=True,
            ssl_check_hostname=False,
        ).master_for("orders"),
        "every certificate",
        "rediss+sentinel://h:1,i:2/orders/0",
    ),
    (coredis.Redis(host="h", ssl=True), "certificates of every host", "rediss://h:6379/0"),
]


@pytest.mark.parametrize(("client", "accepted", "server"), UNVERIFIED)
def test_a_client_that_verifies_less_is_warned_of_once(
    client: object, accepted: str, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    server_of(client)

    assert [record.getMessage() for record in caplog.records] == [
        f"The client accepts {accepted}: others can pass for {server}, and read along."
    ]
    assert caplog.records[0].name == "papyra_streams"


@pytest.mark.parametrize(
    "client",
    [
        redis.asyncio.Redis(host="h", ssl=True),
        valkey.asyncio.Valkey(host="h", ssl=True, ssl_check_hostname=True),
        coredis.Redis(host="h", ssl_context=ssl.create_default_context()),
        redis.asyncio.Redis(host="h"),
    ],
    ids=["redis", "valkey", "coredis", "plain"],
)
def test_there_is_no_warning_of_any_other(client: object, caplog: pytest.LogCaptureFixture) -> None:
    server_of(client)

    assert caplog.records == []


class Rotating(CredentialProvider):
    """Gives another password each time."""

    def __init__(self) -> None:
        self.count = 0

    def get_credentials(self) -> tuple[str, str]:
        self.count += 1
        return "ops", f"password-{self.count}"

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


class RotatingForCoredis(AbstractCredentialProvider):
    """Gives another password each time."""

    def __init__(self) -> None:
        self.count = 0

    async def get_credentials(self) -> UserPass:
        self.count += 1
        return UserPass("ops", f"password-{self.count}")


@pytest.mark.parametrize(
    "client",
    [
        redis.asyncio.Redis(host="h", credential_provider=Rotating()),
        valkey.asyncio.Valkey(host="h", credential_provider=Rotating()),  # type: ignore[arg-type]  # the methods are the same
        coredis.Redis(host="h", credential_provider=RotatingForCoredis()),
    ],
    ids=["redis", "valkey", "coredis"],
)
@pytest.mark.asyncio
async def test_its_credentials_are_asked_for_each_time(client: object) -> None:
    server = server_of(client)

    assert isinstance(server, Endpoint)
    assert [await server.login(), await server.login()] == [
        Credentials(username="ops", password="password-1"),
        Credentials(username="ops", password="password-2"),
    ]


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (
            redis.Redis(host="h"),
            "must be a redis.asyncio.Redis or redis.asyncio.RedisCluster, not a redis.client.Redis",
        ),
        (object(), "must be a client of one of coredis, redis, valkey, not a object of builtins"),
        ("redis://h", "not a str of builtins"),
        (coredis, "not a module of builtins"),
        (TCPLocation("h", 1), "must be a coredis.Redis or coredis.RedisCluster"),
    ],
)
def test_anything_else_is_refused(client: object, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        RedisStreamsPersistence(client=client)


class Instrumented(redis.asyncio.Redis):
    """A client of a class that the user derived."""


def test_a_client_may_be_of_a_class_that_the_user_derived() -> None:
    assert drivers.adopt(Instrumented(host="h")) == ("redis", Endpoint(host="h"))


def test_the_client_decides_on_the_driver() -> None:
    backend = RedisStreamsPersistence(RedisStreamsConfig(driver="redis"), client=coredis.Redis(host="h"))

    assert backend.config.driver == "coredis"
    with pytest.raises(InvalidValue, match="not both"):
        RedisStreamsPersistence(client=coredis.Redis(host="h"), store=object())  # type: ignore[arg-type]  # not looked at


def login() -> Credentials:
    """Return who we are."""
    return Credentials(password="one")


def test_beside_a_client_nothing_else_says_where_the_servers_are(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    ca.touch()
    settings: list[tuple[str, dict[str, Any]]] = [
        ("leave out `credentials`, or `client`.", {"credentials": login}),
        ("leave out `url`, or `client`.", {"url": "redis://i"}),
        ("leave out `url`, `ca`, or `client`.", {"url": "rediss://i", "ca": ca}),
    ]
    for message, given in settings:
        with pytest.raises(InvalidValue, match=message):
            RedisStreamsPersistence(RedisStreamsConfig(**given), client=redis.asyncio.Redis(host="h"))
