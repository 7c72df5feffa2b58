"""From a client that the user has built to the servers it leads to, and who the user is there."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import isawaitable
from typing import Any

from papyra_streams.endpoint import (
    ClusterNodes,
    Credentials,
    CredentialsProvider,
    Endpoint,
    SentinelService,
    Server,
    Tls,
)
from papyra_streams.errors import InvalidValue


def server_of(client: Any, *, single: type, cluster: type) -> Server:
    """Read where a client leads; the client itself is not used.

    :param single: the class of clients of one server, or of a service that Sentinels watch
    :param cluster: the class of a cluster's clients
    :raises InvalidValue: if it is neither
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
    return _endpoint(pool.connection_kwargs, pool.make_connection)


def _cluster(client: Any) -> ClusterNodes:
    nodes = client.nodes_manager.startup_nodes.values()
    return ClusterNodes(nodes=tuple(_node(node, client.connection_kwargs) for node in nodes))


def _node(node: Any, common: Mapping[str, Any]) -> Endpoint:
    own = {**node.connection_kwargs, "host": node.host, "port": node.port}
    return _endpoint({**common, **own}, partial(node.connection_class, **own))


def _service(pool: Any) -> SentinelService:
    if not pool.is_master:
        raise InvalidValue("`client` leads to replicas, to which nothing is ever written; use `master_for`.")
    pools = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    return SentinelService(
        name=pool.service_name,
        sentinels=tuple(_endpoint(one.connection_kwargs, one.make_connection) for one in pools),
        primary=_endpoint(pool.connection_kwargs, pool.make_connection),
    )


def _endpoint(options: Mapping[str, Any], connection: Callable[[], Any]) -> Endpoint:
    provider = options.get("credential_provider")
    common: dict[str, Any] = {
        "database": int(options.get("db") or 0),
        "username": options.get("username"),
        "password": options.get("password"),
        "credentials": _credentials(provider) if provider else None,
    }
    if path := options.get("path"):
        return Endpoint(path=path, **common)
    # What the user said about certificates, the client has made a context of.
    secured = getattr(connection(), "ssl_context", None)
    tls = Tls(context=secured.get()) if secured is not None else None
    address = {name: options[name] for name in ("host", "port") if name in options}
    return Endpoint(**address, tls=tls, **common)


def _credentials(provider: Any) -> CredentialsProvider:
    ask = getattr(provider, "get_credentials_async", provider.get_credentials)

    async def given() -> Credentials:
        found = ask()
        *username, password = await found if isawaitable(found) else found
        return Credentials(username=username[0] if username else None, password=password)

    return given
