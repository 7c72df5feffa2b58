"""Making subscriptions."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import anyio

from papyra_streams.application.clock import Clock
from papyra_streams.application.members import member
from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.config import RedisStreamsConfig
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.errors import InvalidValue
from papyra_streams.ports import StreamStore

from .signals import termination
from .source import Source
from .subscription import Subscription, unique_consumer
from .working import Handler, Worker


class Subscriptions:
    """Makes subscriptions to the streams of this actor system and of others under its prefix."""

    def __init__(self, store: StreamStore, config: RedisStreamsConfig, metrics: StreamsMetrics, clock: Clock) -> None:
        self._store = store
        self._config = config
        self._metrics = metrics
        self._clock = clock

    def new(self, kinds: Sequence[Kind], cfg: SubscriptionConfig) -> Subscription:
        """Make one to the streams of some kinds; it is still to be opened."""
        if not isinstance(cfg, SubscriptionConfig):
            raise InvalidValue(f"`cfg` must be a SubscriptionConfig, not {cfg!r}.")
        consumer = cfg.consumer or unique_consumer()
        sources = list(self._sources(kinds, cfg, consumer))
        return Subscription(self._store, cfg, consumer, sources, self._metrics, self._clock)

    async def process(
        self, kinds: Sequence[Kind], cfg: SubscriptionConfig, handler: Handler, stop: anyio.Event | None
    ) -> None:
        """Run handlers on a subscription until it ends."""
        if not callable(handler):
            raise InvalidValue(f"`handler` must be an async function, not {handler!r}.")
        async with termination() as terminated, self.new(kinds, cfg) as subscription:
            await Worker(subscription, handler, self._metrics).run(terminated, stop or anyio.Event())

    def _sources(self, kinds: Sequence[Kind], cfg: SubscriptionConfig, consumer: str) -> Iterable[Source]:
        own = self._config.keyspace()
        for system in cfg.systems or (own.system_id,):
            keys = replace(own, system_id=system)
            for partition in chain.from_iterable(map(keys.partitions_of, kinds)):
                yield Source(
                    member=member(keys, partition, cfg.group, consumer),
                    partition=partition,
                    system_id=system,
                    quarantine=keys.quarantine(partition),
                )
