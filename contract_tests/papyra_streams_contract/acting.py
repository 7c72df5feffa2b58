"""What a user of each role does, all of it, so that a right that is missing shows."""

import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio

from papyra_streams import Delivery, RedisStreamsPersistence, SubscriptionConfig
from papyra_streams.application.members import member
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import DeadEntry, ProducerMark, StreamStore

from .backends import QUARANTINE, REBUILD, REPAIR, WORKERS, add_raw, damage, event
from .rights import CONSUMER, DASHBOARD, OPERATOR, WRITER, Role
from .wire import Wire, WireError

OLD, GIVEN_UP = "1700000000000-0", "9999999999999-1"
"""An event that operators find, and an entry of its quarantine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A user of a private server: what it does things with; and ``wire``, which may do everything.

    ``store`` is for what the backend does not raise, or only after a while.
    """

    endpoint: Endpoint
    backend: RedisStreamsPersistence
    store: StreamStore
    wire: Wire

    @property
    def keys(self) -> Keyspace:
        """The keys of the backend."""
        return self.backend.config.keyspace()

    @property
    def events(self) -> str:
        """The stream of events."""
        return self.keys.stream(Partition(EVENTS))

    async def admit(self, role: Role, **given: Any) -> None:
        """Give the user a role's rights and no others, for a start without anything on the server.

        :param given: what `Role.line` takes
        """
        readable = role.only_reads and await can_have_readable_keys(self.wire)
        await self.grant("reset", *role.line(**{"readable": readable} | given))
        await self.wire("FLUSHALL")
        # Otherwise scripts are never sent whole.
        await self.wire("SCRIPT", "FLUSH")

    async def grant(self, *rights: str) -> None:
        """Give the user rights beside those that it has."""
        assert self.endpoint.username
        await self.wire("ACL", "SETUSER", self.endpoint.username, *rights)

    async def act(self, role: Role) -> None:
        """Do all that users of the role do."""
        for part in _PARTS[role.name]:
            await part(self)


async def can_have_readable_keys(wire: Wire) -> bool:
    """Tell whether the server knows keys that may be read alone; from Redis 7.0 on."""
    try:
        await wire("ACL", "SETUSER", "nobody", "%R~nothing")
    except WireError:
        return False
    return True


async def _write(stage: Stage) -> None:
    made = ProducerMark(key=stage.keys.producer_mark(Partition(EVENTS), "one"), first=1, lifetime=60)
    await stage.store.append(stage.events, [b"{}"], mark=made)
    await stage.backend.record_event(event(1, timestamp=time.time()))
    await stage.backend.record_many([event(2, timestamp=time.time())])
    assert stage.backend.metrics.write_errors == 0
    assert len(await stage.backend.list_events()) == 2


async def consume(stage: Stage) -> int:
    """Do what consumers do without a subscription; return how many entries they handled: all but the deleted one."""
    backend = stage.backend
    await backend.ensure_consumer_group(kind="events", group="workers")
    ids = [await add_raw(stage.wire, stage.events, {"kind": "event", "timestamp": 1.0}) for _ in range(3)]
    await backend.consume(kind="events", cfg=WORKERS)
    # Redis 6.2 is asked for it then.
    await stage.wire("XDEL", stage.events, ids[0])
    await backend.claim("events", group="workers", consumer="worker-2", min_idle_ms=0, entry_ids=ids)
    await backend.pending_summary(kind="events", group="workers")
    return await backend.ack(kind="events", group="workers", ids=ids)


async def _share(stage: Stage) -> None:
    """Do what a subscription does, step by step, since that tells of no error when it ends."""
    store, me = stage.store, member(stage.keys, Partition(EVENTS), "sharing", "me")
    await store.join(me, start="0", on_loss="resume", expected=False)
    await stage.wire("XGROUP", "DESTROY", stage.events, "sharing")
    await store.join(me, start="0", on_loss="resume", expected=True)
    await store.lead(me, lease_ms=60_000)
    await store.lead(me, lease_ms=60_000)
    taken = [one.entry.id for one in await store.take([me], count=10)]
    assert len(taken) == 2
    await store.take_pending(me, count=1, after=EntryId(0, 0))
    await store.renew(me, taken)
    await store.take_again(me, taken)
    await store.release(me, {taken[0]: 1000}, to="other", counted=True)
    await store.take_stuck(me, count=10, min_idle_ms=1, pause_ms=1)
    await store.settle(me, taken[:1])
    await store.bury(me, [_dead(taken[1])], quarantine=stage.keys.quarantine(Partition(EVENTS)), moment=0.0)
    await store.leave(me)


def _dead(entry_id: EntryId) -> DeadEntry:
    return DeadEntry(id=entry_id, attempts=1, reason="no good", error="")


async def _work(stage: Stage) -> None:
    for ordering in ("none", "actor"):
        cfg = SubscriptionConfig(group=ordering, ordering=ordering, claim_idle=0.2, backoff=0.01)
        await _process_once(stage, cfg)


async def _process_once(stage: Stage, cfg: SubscriptionConfig) -> None:
    """Work until an entry is in quarantine that was given back and lost with the group."""
    stop = anyio.Event()
    lost = False

    async def handle(delivery: Delivery) -> None:
        nonlocal lost
        if delivery.attempt == 1:
            raise ZeroDivisionError
        if lost:
            await delivery.reject("no good")
            stop.set()
        else:
            lost = True
            await stage.wire("XGROUP", "DESTROY", stage.events, cfg.group)

    await add_raw(stage.wire, stage.events, {"kind": "event", "timestamp": 1.0})
    with anyio.fail_after(10):
        await stage.backend.process(kind="events", cfg=cfg, handler=handle, stop=stop)


async def _operate(stage: Stage) -> None:
    backend = stage.backend
    await lay_out(stage)
    assert (await backend.scan(full=True)).found == 2
    for config in (QUARANTINE, REPAIR, REBUILD):
        report = await backend.recover(config, full=True)
        assert not any(each.obstacle for each in report.rebuilt)
    assert (await backend.compact(dry_run=True)).held_back
    assert (await backend.compact()).held_back
    await _inspect(stage)
    (*_, first, second) = await backend.quarantine_list(kind="events")
    await backend.quarantine_replay(kind="events", ids=[first.id])
    assert await backend.quarantine_drop(kind="events", ids=[second.id]) == 1
    assert await backend.remove_idle_consumers(kind="events", group="workers", older_than=0.001) == ("gone",)


async def lay_out(stage: Stage) -> None:
    """Arrange what needs an operator: bad entries, a group that keeps others back, and half a rebuild."""
    wire, stream, quarantine = stage.wire, stage.events, stage.keys.quarantine(Partition(EVENTS))
    await add_raw(wire, stream, {"kind": "event", "timestamp": 1.0}, OLD)
    await damage(wire, stream, [b"{", b"[]"])
    await wire("XGROUP", "CREATE", stream, "workers", "0")
    await wire("XGROUP", "CREATECONSUMER", stream, "workers", "gone")
    await wire("XREADGROUP", "GROUP", "workers", "me", "COUNT", 2, "STREAMS", stream, ">")
    await wire("XGROUP", "CREATE", stage.keys.rebuilt(Partition(EVENTS), "copy"), "workers", "0", "MKSTREAM")
    # It has caught up, so that nobody is waited for any more.
    await wire("HSET", stage.keys.unattended(Partition(EVENTS)), "finished", "1 1 1-1 1-1")
    await wire("HSET", stage.keys.group(Partition(EVENTS), "state", "workers"), "finished", OLD)
    given_up = ("source", stream, "id", OLD, "group", "workers", "field:data", "{}")
    await wire("XADD", quarantine, GIVEN_UP, *given_up)
    await wire("XADD", quarantine, "9999999999999-2", *given_up)


async def _watch(stage: Stage) -> None:
    await lay_out(stage)
    assert (await stage.backend.scan(full=True)).found == 2
    await stage.backend.list_events()
    await stage.backend.pending_summary(kind="events", group="workers")
    await _inspect(stage)


async def _inspect(stage: Stage) -> None:
    """Do what operators and dashboards both do."""
    await stage.backend.group_status(kind="events", group="workers")
    await stage.backend.consumers(kind="events", group="workers")
    (*_, newest) = await stage.backend.quarantine_list(kind="events")
    assert await stage.backend.quarantine_show(kind="events", id=newest.id)
    assert await stage.backend.quarantine_export(kind="events", to=io.BytesIO())
    # A scan only warns of what it may not look at.
    assert not [each for each in (await stage.backend.scan()).warnings if each.subject == "access"]


_PARTS: dict[str, tuple[Callable[[Stage], Awaitable[object]], ...]] = {
    WRITER.name: (_write,),
    CONSUMER.name: (consume, _share, _work),
    OPERATOR.name: (_operate,),
    DASHBOARD.name: (_watch,),
}
