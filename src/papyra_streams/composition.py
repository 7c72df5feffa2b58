"""Puts a backend together: the one place that knows every part, and the only one that knows the container."""

import time
from dataclasses import dataclass
from typing import Any

from dependency_injector import containers, providers
from papyra.persistence.backends.retention import RetentionPolicy

from . import drivers
from .application.clock import Clock
from .application.compaction import Compaction
from .application.concerns import Concerns
from .application.consuming import Consuming
from .application.groups import Groups
from .application.history import History
from .application.inspection import Inspection
from .application.integrity import Integrity
from .application.journal import Journal
from .application.metrics import WriteMeter
from .application.quarantine import Quarantine
from .application.rebuilding import Rebuilding
from .application.retrying import RetryingStore, Revive
from .application.subscribing.subscriptions import Subscriptions
from .application.sweeping import Sweeping
from .config import RedisStreamsConfig
from .endpoint import Server
from .ports import SpoolPort, StreamStore, Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All use cases over one open store, for one event loop."""

    store: StreamStore
    journal: Journal
    history: History
    consuming: Consuming
    subscriptions: Subscriptions
    groups: Groups
    quarantine: Quarantine
    compaction: Compaction
    integrity: Integrity


def _driver(name: str, server: Server, timeouts: Timeouts) -> StreamStore:
    return drivers.load(name)(server, timeouts)


def _spool(config: RedisStreamsConfig) -> SpoolPort | None:
    path = config.spool_path()
    return drivers.spool()(path, config.write_policy.spool_bytes) if path else None


def _branches(*arguments: providers.Provider[Any]) -> dict[str, providers.Factory[StreamStore]]:
    return {name: providers.Factory(_driver, name, *arguments) for name in drivers.names()}


class _Container(containers.DeclarativeContainer):
    """The graph of one event loop's services. Nothing in it connects, so that nothing has to be undone if it fails."""

    config = providers.Dependency(instance_of=RedisStreamsConfig)
    policy = providers.Dependency(instance_of=RetentionPolicy)
    meter = providers.Dependency(instance_of=WriteMeter)
    metrics = meter.provided.metrics
    clock: providers.Object[Clock] = providers.Object(time.time)
    revive: providers.Dependency[Revive] = providers.Dependency()
    server: providers.Dependency[Server] = providers.Dependency()

    keys = providers.Singleton(RedisStreamsConfig.keyspace, config)
    timeouts = providers.Factory(
        Timeouts, connect=config.provided.connect_timeout, command=config.provided.command_timeout
    )
    # The branches are inert: only the chosen driver's client library is imported.
    driver: providers.Selector[StreamStore] = providers.Selector(
        config.provided.driver,
        **_branches(server, timeouts),
    )
    # Not a Resource: dependency-injector awaits those with asyncio alone, and a backend also runs on trio.
    store = providers.Singleton(RetryingStore, driver, revive=revive)

    spool = providers.Callable(_spool, config)
    compaction = providers.Singleton(
        Compaction,
        store,
        keys,
        policy,
        clock,
        approximate=config.provided.approx_trim,
        abandoned_after=config.provided.abandoned_after,
    )
    sweeping = providers.Singleton(
        Sweeping, store, keys, providers.Singleton(Inspection, store, keys, policy, clock), clock
    )
    integrity = providers.Singleton(
        Integrity,
        keys,
        sweeping,
        compaction,
        providers.Singleton(Rebuilding, store, keys),
        providers.Singleton(Concerns, store, keys, clock, abandoned_after=config.provided.abandoned_after),
        sample_size=config.provided.scan_sample_size,
    )
    services = providers.Factory(
        Services,
        store=store,
        journal=providers.Singleton(Journal, store, keys, config.provided.write_policy, meter, clock, spool),
        history=providers.Singleton(History, store, keys, policy, clock, max_read=config.provided.max_read),
        consuming=providers.Singleton(Consuming, store, keys, metrics),
        subscriptions=providers.Singleton(Subscriptions, store, config, metrics, clock),
        groups=providers.Singleton(Groups, store, keys),
        quarantine=providers.Singleton(Quarantine, store, keys),
        compaction=compaction,
        integrity=integrity,
    )


def compose(
    config: RedisStreamsConfig,
    policy: RetentionPolicy,
    meter: WriteMeter,
    server: Server,
    *,
    revive: Revive,
    store: StreamStore | None = None,
) -> Services:
    """Build the services for one event loop, over the chosen driver or over a store that the user brings.

    :param revive: tries to bring back a server that is away
    """
    container = _Container(
        config=providers.Object(config),
        policy=providers.Object(policy),
        meter=providers.Object(meter),
        revive=providers.Object(revive),
        server=providers.Object(server),
    )
    if store is not None:
        container.driver.override(providers.Object(store))
    return container.services()
