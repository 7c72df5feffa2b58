"""What the backend does for consumer groups."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import IO, Any

import anyio
import orjson

from .application.subscribing.subscription import Subscription
from .config import RedisConsumerGroupConfig
from .domain.groups import (
    ConsumerStatus,
    GroupStatus,
    PendingSummary,
    QuarantinedEntry,
    RedisStreamEntry,
    ReplayReport,
)
from .domain.kinds import Kind, StreamKind, kind_named
from .domain.quarantine import exported
from .domain.subscribing import SubscriptionConfig
from .errors import InvalidValue
from .lifetime import Lifetime


class GroupCalls:
    """The part of the backend that concerns consumer groups, and what they gave up."""

    _lifetime: Lifetime

    # -- consumer groups

    async def ensure_consumer_group(self, *, kind: StreamKind, group: str, start_id: str = "0") -> None:
        """Create a consumer group, and its stream, unless they are there; one that is there keeps its position.

        :param start_id: ``"0"`` to begin with the oldest entry, ``"$"`` with new ones, or an id to begin after
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        await services.consuming.ensure_group(stream_kind, group, start_id)

    async def consume(
        self, *, kind: StreamKind, cfg: RedisConsumerGroupConfig, read_id: str = ">"
    ) -> tuple[RedisStreamEntry, ...]:
        """Give entries to a consumer; they stay pending until `ack`. Delivery is at least once.

        An entry that cannot be read is acknowledged for the group, counted and logged, and stays in the stream. An
        empty answer means that there was nothing to read within ``cfg.block_ms``.

        :param read_id: ``">"`` for entries nobody was given; ``"0"`` or an id for this consumer's own pending ones
        :raises GroupMissing: if the group is missing and ``cfg.ensure_group`` is false
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.consume(stream_kind, cfg, read_id)

    async def ack(self, *, kind: StreamKind, group: str, ids: Sequence[str]) -> int:
        """Acknowledge entries; return how many of them were pending."""
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.acknowledge(stream_kind, group, ids)

    async def pending_summary(self, *, kind: StreamKind, group: str) -> PendingSummary:
        """Summarise what a group has not acknowledged; a group that is missing has nothing pending."""
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.pending(stream_kind, group)

    async def claim(
        self, kind: StreamKind, *, group: str, consumer: str, min_idle_ms: int, entry_ids: Sequence[str]
    ) -> list[RedisStreamEntry]:
        """Give pending entries that nobody has touched for ``min_idle_ms`` to another consumer, and return them.

        Ids that are not pending, or not idle for long enough, are left out; so are unreadable ones, as in `consume`.
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.consuming.claim(stream_kind, group, consumer, min_idle_ms, entry_ids)

    # -- subscriptions

    @asynccontextmanager
    async def subscription(
        self, *, kind: StreamKind | Sequence[StreamKind], cfg: SubscriptionConfig
    ) -> AsyncIterator[Subscription]:
        """Share in a consumer group: ``async for delivery in subscription``, for as long as the ``async with`` lasts.

        The group is created if need be. Each delivery is this worker's until it is settled, or the worker gives no sign
        of life; at the end, what is not settled is handed over to the other workers. Connections and groups that are
        lost are made good.

        :param kind: of the stream to read, or several kinds, each once
        """
        kinds = _kinds(kind)
        services = await self._lifetime.services()
        async with services.subscriptions.new(kinds, cfg) as subscription:
            yield subscription

    async def process(
        self,
        *,
        kind: StreamKind | Sequence[StreamKind],
        cfg: SubscriptionConfig,
        handler: Callable[[Any], Awaitable[object]],
        stop: anyio.Event | None = None,
    ) -> None:
        """Work on a subscription: run a handler for each delivery; acknowledge it, or deliver it again if that raises.

        It returns after SIGTERM, where that has no other handler, or after ``stop`` is set: what is in hand is finished
        within ``cfg.grace``, and the rest handed over. Cancelling it hands over at once.

        :param handler: an async function of one `Delivery`; of a list of them with ``cfg.batch_size``
        :raises InvalidValue: if the handler is no async function
        :raises GroupMissing: if the group is lost and ``cfg.on_group_lost`` is ``"fail"``
        """
        kinds = _kinds(kind)
        services = await self._lifetime.services()
        await services.subscriptions.process(kinds, cfg, handler, stop)

    # -- operations on groups

    async def group_status(self, *, kind: StreamKind, group: str) -> GroupStatus:
        """Tell how a group stands: what it has before it, what it has in hand, and since when; write nothing.

        The attempts are exact, for which it looks through all that is pending: 1000 entries in a round trip, 100,000 in
        about half a second.

        :raises GroupMissing: if there is no such group
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.groups.status(stream_kind, group)

    async def consumers(self, *, kind: StreamKind, group: str) -> tuple[ConsumerStatus, ...]:
        """Return a group's consumers, by name; it looks through all that is pending, as `group_status` does.

        ``papyra-streams:released`` is no worker: it holds what workers let go of until another takes it.

        :raises GroupMissing: if there is no such group
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.groups.consumers(stream_kind, group)

    async def remove_idle_consumers(self, *, kind: StreamKind, group: str, older_than: float) -> tuple[str, ...]:
        """Remove a group's consumers that were not heard of for ``older_than`` seconds; return their names.

        One that holds an entry stays, since its entries would be lost to the group. A worker that lives, and only found
        nothing to read, which no server counts before Redis 7.2, is back with its next entry.

        :raises GroupMissing: if there is no such group
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.groups.remove_idle(stream_kind, group, older_than)

    # -- quarantine

    async def quarantine_list(
        self, *, kind: StreamKind, limit: int | None = 100, after: str | None = None
    ) -> tuple[QuarantinedEntry, ...]:
        """Return what is in quarantine, oldest first: what a recovery moved there, and what groups gave up.

        :param limit: how many at most; None for all
        :param after: only those behind this one, by its id in the quarantine, as for the next page
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.quarantine.entries(stream_kind, limit=limit, after=after)

    async def quarantine_show(self, *, kind: StreamKind, id: str) -> QuarantinedEntry | None:  # noqa: A002 -- an entry has no other name
        """Return the entry with this id of the quarantine, all its fields as they were; None if it is not there."""
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.quarantine.find(stream_kind, id)

    async def quarantine_replay(
        self, *, kind: StreamKind, ids: Sequence[str], mend: Callable[[QuarantinedEntry], bytes | None] | None = None
    ) -> ReplayReport:
        """Put entries back, and take them out of the quarantine; a second call finds them missing.

        The group that gave an entry up gets it again, and no other does. Where the stream no longer has it, or the
        group is gone, it is appended anew with ``replay_of``, its old id. So is what a recovery moved there; a scan
        finds it again, unless it is mended, or reads can return it by now.

        :param ids: their ids in the quarantine
        :param mend: is given each entry, and returns its new data, for everybody to get; or None to leave it as it is
        :raises InvalidValue: at new data that reads would skip; the entries before it are back
        :raises Rejected: at an entry with nothing to append, as somebody else put it there; those before it are back
        """
        stream_kind = kind_named(kind)
        if mend is not None and not callable(mend):
            raise InvalidValue(f"`mend` must be a function of one QuarantinedEntry, not {mend!r}.")
        services = await self._lifetime.services()
        return await services.quarantine.replay(stream_kind, ids, mend)

    async def quarantine_export(self, *, kind: StreamKind, to: IO[bytes]) -> int:
        """Write a quarantine to a file, a line of JSON for each entry; return how many there are. Nothing is removed.

        A line has the fields of `QuarantinedEntry`. Names and values that are not UTF-8 stand there as
        ``{"base64": "..."}``.

        :param to: a file that is open for writing bytes
        """
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        count = 0
        async with aclosing(services.quarantine.each(stream_kind)) as entries:
            async for entry in entries:
                to.write(orjson.dumps(exported(entry), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
        return count

    async def quarantine_drop(self, *, kind: StreamKind, ids: Sequence[str]) -> int:
        """Remove entries from the quarantine for good, by their ids there; return how many there were."""
        stream_kind = kind_named(kind)
        services = await self._lifetime.services()
        return await services.quarantine.drop(stream_kind, ids)


def _kinds(named: StreamKind | Sequence[StreamKind]) -> list[Kind]:
    names = [named] if isinstance(named, str) else list(named)
    if not names or len(set(names)) < len(names):
        raise InvalidValue(f"`kind` must name one kind, or several, each once, not {named!r}.")
    return [kind_named(name) for name in names]
