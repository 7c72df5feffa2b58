"""From a client that the user has built to the servers it leads to, and who the user is there."""

from typing import Any

import coredis
from coredis.connection import TCPLocation, UnixDomainSocketLocation

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

from .._resp.adopting import check_comes_with

_LIBRARY = ("coredis",)


def server_of(client: object) -> Server:
    """Read where a client leads; the client itself is not used.

    :raises InvalidValue: if it is no client of coredis, or goes ways of its own
    """
    if not isinstance(client, coredis.Redis | coredis.RedisCluster):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise InvalidValue(f"`client` must be a coredis.Redis or coredis.RedisCluster, not a {kind}.")
    pool: Any = client.connection_pool
    template = _template(pool)
    if isinstance(client, coredis.RedisCluster):
        return ClusterNodes(nodes=tuple(template.at(node.host, node.port) for node in pool.startup_nodes))
    if hasattr(pool, "sentinel_manager"):
        return _service(pool, template)
    return _at(template, pool.location)


def _service(pool: Any, template: Endpoint) -> SentinelService:
    if not pool.is_primary:
        raise InvalidValue("`client` leads to replicas, to which nothing is ever written; use `primary_for`.")
    check_comes_with(_LIBRARY, pool.sentinel_manager.discover_primary, does="finds the primary with")
    pools = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    return SentinelService(
        name=pool.service_name,
        sentinels=tuple(_at(_template(one), one.location) for one in pools),
        primary=template,
    )


def _template(pool: Any) -> Endpoint:
    check_comes_with(_LIBRARY, pool.connection_class, does="connects with")
    options = pool.connection_kwargs
    if options.get("ssl"):
        raise InvalidValue(
            "`client` was given `ssl`, which coredis's Sentinel does not know: give it an `ssl_context`."
        )
    provider = options.get("credential_provider")
    context = options.get("ssl_context")
    return Endpoint(
        tls=Tls(context=context) if context else None,
        database=options.get("db") or 0,
        username=options.get("username"),
        password=options.get("password"),
        credentials=_credentials(provider) if provider else None,
        given_as="`client`",
    )


def _at(template: Endpoint, location: object) -> Endpoint:
    match location:
        case TCPLocation(host=host, port=port):
            return template.at(host, port)
        case UnixDomainSocketLocation(path=path):
            return template.over(path)
    raise InvalidValue(f"`client` leads to {location!r}, which is neither a TCP address nor a Unix socket.")


def _credentials(provider: Any) -> CredentialsProvider:
    async def given() -> Credentials:
        found = await provider.get_credentials()
        return Credentials(username=found.username, password=found.password)

    return given
