"""From a client that the user has built to the servers it leads to, and who the user is there."""

from inspect import isawaitable
from typing import Any

from papyra_streams.endpoint import (
    DEFAULT_PORT,
    ClusterNodes,
    Credentials,
    CredentialsProvider,
    Endpoint,
    SentinelService,
    Server,
    Tls,
)
from papyra_streams.errors import InvalidValue
from papyra_streams_adapters._resp.adopting import check_comes_with

_LIBRARIES = ("redis", "valkey")
_NOT_FOLLOWED = "cannot be followed: let the servers announce where they are reached"


def server_of(client: Any, *, single: type, cluster: type) -> Server:
    """Read where a client leads; the client itself is not used.

    :param single: the class of clients of one server, or of a service that Sentinels watch
    :param cluster: the class of a cluster's clients
    :raises InvalidValue: if it is neither, or goes ways of its own
    """
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    if isinstance(client, cluster):
        return _cluster(client)
    if not isinstance(client, single):
        expected = " or ".join(f"{one.__module__.rpartition('.')[0]}.{one.__qualname__}" for one in (single, cluster))
        raise InvalidValue(f"`client` must be a {expected}, not a {kind}.")
    pool: Any = getattr(client, "connection_pool")  # noqa: B009 -- its class is only known to the caller
    if hasattr(pool, "sentinel_manager"):
        return _service(pool)
    return _endpoint(pool.make_connection())


def _cluster(client: Any) -> ClusterNodes:
    if client.nodes_manager.address_remap:
        raise InvalidValue(f"`client` has an `address_remap`, which {_NOT_FOLLOWED} (`cluster-announce-ip`).")
    nodes = client.nodes_manager.startup_nodes.values()
    return ClusterNodes(nodes=tuple(_endpoint(node.connection_class(**node.connection_kwargs)) for node in nodes))


def _service(pool: Any) -> SentinelService:
    if not pool.is_master:
        raise InvalidValue("`client` leads to replicas, to which nothing is ever written; use `master_for`.")
    manager = pool.sentinel_manager
    # valkey-py has none.
    if getattr(manager, "_force_master_ip", None):
        raise InvalidValue(f"`client` has a `force_master_ip`, which {_NOT_FOLLOWED} (`replica-announce-ip`).")
    check_comes_with(_LIBRARIES, manager.discover_master, does="finds the primary with")
    pools = [sentinel.connection_pool for sentinel in manager.sentinels]
    return SentinelService(
        name=pool.service_name,
        sentinels=tuple(_endpoint(one.make_connection()) for one in pools),
        primary=_endpoint(pool.make_connection()).at("", DEFAULT_PORT),
    )


def _endpoint(connection: Any) -> Endpoint:
    """Read it off a connection that is never opened: it knows the defaults as well."""
    check_comes_with(_LIBRARIES, type(connection), does="connects with")
    # A cluster's client puts in one of its own, to read from replicas.
    prepare = getattr(connection, "redis_connect_func", None) or getattr(connection, "valkey_connect_func", None)
    if prepare:
        check_comes_with(_LIBRARIES, prepare, does="begins connections with")
    provider = connection.credential_provider
    template = Endpoint(
        tls=_tls(connection),
        database=int(connection.db or 0),
        username=connection.username,
        password=connection.password,
        credentials=_credentials(provider) if provider else None,
        given_as="`client`",
    )
    if path := getattr(connection, "path", None):
        return template.over(path)
    return template.at(connection.host, int(connection.port))


def _tls(connection: Any) -> Tls | None:
    secured = getattr(connection, "ssl_context", None)
    if secured is None:
        return None
    try:
        # What the user said about certificates, the client makes a context of.
        return Tls(context=secured.get())
    except Exception as error:
        raise InvalidValue(f"`client` has settings for TLS that cannot be used: {error}.") from error


def _credentials(provider: Any) -> CredentialsProvider:
    ask = getattr(provider, "get_credentials_async", provider.get_credentials)

    async def given() -> Credentials:
        found = ask()
        *username, password = await found if isawaitable(found) else found
        return Credentials(username=username[0] if username else None, password=password)

    return given
