"""Subscriptions on a server: what a delivery is, how it is settled, and who has it meanwhile."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import anyio
import pytest
from papyra.persistence.models import PersistedAudit, PersistedDeadLetter

from papyra_streams import Delivery, InvalidValue, LeaseLost, RedisStreamsPersistence, SubscriptionConfig
from papyra_streams.application.subscribing.subscription import Subscription
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import RELEASED

from .arranging import age, eventually, member, pending_rows, stored
from .backends import OpenBackend, record_events
from .servers import PrivateServer
from .wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="function")

GROUP = "workers"
LONG = 60.0
"""A lease that outlasts the test."""
SHORT = 0.4
"""A lease that ends within the test."""


def work(**settings: Any) -> SubscriptionConfig:
    """Make settings for a worker called me."""
    chosen: dict[str, Any] = {"group": GROUP, "consumer": "me", "claim_idle": SHORT, "backoff": 0.01, "grace": 1.0}
    return SubscriptionConfig(**(chosen | settings))


async def record(backend: RedisStreamsPersistence, numbers: Iterable[int], *, actor: str = "a") -> None:
    """Record events of an actor that hold numbers."""
    rows = [
        {"kind": "event", "event_type": "x", "actor_address": actor, "payload": {"number": number}}
        for number in numbers
    ]
    await backend.record_many(rows)


def number_of(delivery: Delivery) -> int:
    """Return the number that a delivery's record holds."""
    number: int = delivery.data["payload"]["number"]
    return number


async def next_of(subscription: Subscription, *, within: float = 5.0) -> Delivery:
    """Wait for a delivery."""
    with anyio.fail_after(within):
        return await anext(subscription)


async def give_to_the_departed(wire: Wire, stream: str, count: int) -> list[EntryId]:
    """Have a consumer take new entries that has not been heard of since, for an hour."""
    if not await wire("EXISTS", stream) or not await wire("XINFO", "GROUPS", stream):
        await wire("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
    before = set(await pending_rows(wire, member(stream)))
    await wire("XREADGROUP", "GROUP", GROUP, "departed", "COUNT", count, "STREAMS", stream, ">")
    ids = sorted(set(await pending_rows(wire, member(stream))) - before)
    await age(wire, stream, GROUP, ids)
    return ids


async def held(wire: Wire, stream: str) -> Counter[str]:
    """Return how many entries are pending for each consumer."""
    return Counter(consumer for consumer, _ in (await pending_rows(wire, member(stream))).values())


async def consumers(backend: RedisStreamsPersistence) -> set[str]:
    """Return the names of the group's consumers, but for the one that stands for nobody."""
    return {one.name for one in await backend.consumers(kind="events", group=GROUP)} - {RELEASED}


# -- what a delivery is


async def test_a_delivery_tells_what_is_known_of_its_entry(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record_events(backend, 1)
    (identifier,) = await stored(wire, stream)
    (recorded,) = await backend.list_events()
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        assert subscription.consumer == "me"
        delivery = await next_of(subscription)
        assert delivery.record == recorded
        assert delivery.data["payload"] == {"number": 0}
        assert (delivery.id, delivery.kind, delivery.system_id) == (str(identifier), "events", "orders")
        assert (delivery.attempt, delivery.idle_ms) == (1, 0)
        assert await pending_rows(wire, member(stream)) == {identifier: ("me", 1)}


async def test_each_kinds_records_come_as_papyras_models(backend: RedisStreamsPersistence) -> None:
    await backend.record_audit({"total_actors": 5, "alive_actors": 4})
    await backend.record_dead_letter({"target": "till", "message_type": "sale", "payload": 1})
    audits, dead_letters = await backend.list_audits(), await backend.list_dead_letters()
    found = {}
    async with backend.subscription(kind=("audits", "dead_letters"), cfg=work(claim_idle=LONG)) as subscription:
        for _ in range(2):
            async with await next_of(subscription) as delivery:
                found[delivery.kind] = delivery.record
    assert isinstance(found["audits"], PersistedAudit)
    assert isinstance(found["dead_letters"], PersistedDeadLetter)
    assert found == {"audits": audits[0], "dead_letters": dead_letters[0]}


# -- settling


async def test_what_is_acknowledged_is_no_longer_pending_and_stays_in_the_stream(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record_events(backend, 2)
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        first, second = [await next_of(subscription) for _ in range(2)]
        await first.ack()
        assert set(await pending_rows(wire, member(stream))) == {second.entry_id}
        await first.ack()
        with pytest.raises(InvalidValue, match="settled before: acknowledged"):
            await first.nack()
    assert len(await stored(wire, stream)) == 2
    assert backend.metrics.entries_acknowledged == 1


async def test_a_block_that_ends_acknowledges_and_one_that_raises_gives_back(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(2))
    async with backend.subscription(kind="events", cfg=work()) as subscription:
        async with await next_of(subscription) as good:
            assert len(await pending_rows(wire, member(stream))) == 2
        with pytest.raises(ZeroDivisionError):
            async with await next_of(subscription) as bad:
                raise ZeroDivisionError
        assert good.entry_id not in await pending_rows(wire, member(stream))
        async with await next_of(subscription) as again:
            assert (again.id, again.attempt) == (bad.id, 2)
            assert again.idle_ms >= 0
    assert await pending_rows(wire, member(stream)) == {}
    assert backend.metrics.entries_redelivered == 1


async def test_a_block_that_is_cancelled_gives_back(backend: RedisStreamsPersistence) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work()) as subscription:
        with anyio.CancelScope() as scope:
            async with await next_of(subscription):
                scope.cancel()
                await anyio.sleep_forever()
        async with await next_of(subscription) as again:
            assert again.attempt == 2


async def test_what_is_given_back_without_delay_is_nobodys_and_comes_again_at_once(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        delivery = await next_of(subscription)
        await delivery.nack(delay=0)
        again = await next_of(subscription, within=2.0)
        assert (again.id, again.attempt) == (delivery.id, 2)
        assert await pending_rows(wire, member(stream)) == {again.entry_id: ("me", 2)}
        with pytest.raises(InvalidValue, match="settled before: returned"):
            await delivery.ack()


async def test_what_is_given_back_is_left_alone_for_as_long_as_asked(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        delivery = await next_of(subscription)
        asked = time.monotonic()
        await delivery.nack(delay=0.7)
        assert await held(wire, stream) == {RELEASED: 1}
        again = await next_of(subscription)
        # The server counts in milliseconds.
        assert time.monotonic() - asked > 0.69
        assert again.attempt == 2


async def test_what_is_to_wait_longer_than_a_lease_is_kept_from_everybody(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work()) as one:
        first = await next_of(one)
        async with backend.subscription(kind="events", cfg=work(consumer="other")) as other:
            asked = time.monotonic()
            await first.nack(delay=2 * SHORT)
            assert await held(wire, stream) == {"me": 1}
            async with await _first_of(one, other) as again:
                assert time.monotonic() - asked > 2 * SHORT - 0.01
                assert (again.id, again.attempt) == (first.id, 2)


async def _first_of(*subscriptions: Subscription) -> Delivery:
    """Take the first delivery that any of them gets."""
    found: list[Delivery] = []

    async def take(subscription: Subscription, scope: anyio.CancelScope) -> None:
        found.append(await anext(subscription))
        scope.cancel()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for subscription in subscriptions:
                tasks.start_soon(take, subscription, tasks.cancel_scope)
    return found[0]


# -- slots


async def test_a_consumer_never_has_more_pending_than_it_has_slots(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(40))
    most = 0
    async with backend.subscription(kind="events", cfg=work(concurrency=3, claim_idle=LONG)) as subscription:
        in_hand = [await next_of(subscription) for _ in range(3)]
        for _ in range(37):
            await in_hand.pop(0).ack()
            in_hand.append(await next_of(subscription))
            most = max(most, (await held(wire, stream))["me"])
    assert most == 3


async def test_with_fewer_slots_than_streams_none_is_left_waiting(backend: RedisStreamsPersistence) -> None:
    for number in range(3):
        await record(backend, [number])
        await backend.record_audit({"total_actors": number})
        await backend.record_dead_letter({"target": "till", "payload": number})
    seen = []
    cfg = work(concurrency=1, claim_idle=LONG)
    async with backend.subscription(kind=("events", "audits", "dead_letters"), cfg=cfg) as subscription:
        async with await next_of(subscription) as first:
            await anyio.sleep(0.5)  # All of them wait for their turn by then.
        for _ in range(8):
            async with await next_of(subscription) as delivery:
                seen.append(delivery.kind)
    assert Counter([first.kind, *seen]) == {"events": 3, "audits": 3, "dead_letters": 3}
    assert set(seen[:3]) == {"events", "audits", "dead_letters"}


async def test_an_acknowledgement_does_not_wait_for_a_read_that_does(
    open_backend: OpenBackend, private_server: PrivateServer, private_wire: Wire
) -> None:
    backend = open_backend(url=private_server.url, prefix="papyra")
    await record(backend, range(10))

    async def a_read_waits() -> bool:
        return b"blocked_clients:1\r" in await private_wire.text("INFO", "clients")

    async with backend.subscription(kind="events", cfg=work(concurrency=20, claim_idle=LONG)) as subscription:
        in_hand = [await next_of(subscription) for _ in range(10)]
        took = []
        for delivery in in_hand:
            await eventually(a_read_waits)
            began = time.monotonic()
            await delivery.ack()
            took.append(time.monotonic() - began)
    # A read waits for half a second; most acknowledgements would wait for a good part of that.
    assert sorted(took)[5] < 0.1


# -- stuck entries


async def test_what_a_worker_left_behind_that_is_gone_comes_with_what_is_known_of_it(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(3))
    ids = await give_to_the_departed(wire, stream, 2)
    seen = {}
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        for _ in range(3):
            async with await next_of(subscription) as delivery:
                seen[number_of(delivery)] = (delivery.entry_id, delivery.attempt, delivery.idle_ms >= 3_600_000)
    assert seen[0] == (ids[0], 2, True)
    assert seen[1] == (ids[1], 2, True)
    assert seen[2][1:] == (1, False)


async def test_new_entries_do_not_wait_until_all_that_is_stuck_is_done(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(200))
    await give_to_the_departed(wire, stream, 200)
    await record(backend, range(1000, 1003))
    seen = []
    async with backend.subscription(kind="events", cfg=work(concurrency=2, claim_idle=LONG)) as subscription:
        while 1002 not in seen:
            async with await next_of(subscription) as delivery:
                seen.append(number_of(delivery))
    assert 3 < len(seen) < 50


async def test_a_stuck_entry_does_not_wait_for_the_end_of_a_flood_of_new_ones(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(50))
    stuck: list[EntryId] = []
    seen: list[EntryId] = []
    async with backend.subscription(kind="events", cfg=work(concurrency=2, claim_idle=2.0)) as subscription:
        with anyio.fail_after(4):
            while not stuck or stuck[0] not in seen:
                async with await next_of(subscription) as delivery:
                    seen.append(delivery.entry_id)
                await record(backend, range(2))
                if len(seen) == 20:
                    stuck = await give_to_the_departed(wire, stream, 1)
    assert len(stuck) == 1


async def test_entries_that_were_deleted_while_they_were_stuck_are_cleared_away(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(5))
    ids = await give_to_the_departed(wire, stream, 5)
    await wire("XDEL", stream, *map(str, (ids[0], ids[2], ids[4])))
    async with backend.subscription(kind="events", cfg=work()) as subscription:
        for number in (1, 3):
            async with await next_of(subscription) as delivery:
                assert number_of(delivery) == number

        async def nothing_is_pending() -> bool:
            return not await pending_rows(wire, member(stream))

        await eventually(nothing_is_pending)
    assert backend.metrics.entries_quarantined == backend.metrics.unreadable_entries == 0


# -- leases


async def test_an_entry_that_takes_long_is_not_given_to_another_who_looks_for_it(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work(claim_idle=0.6)) as one:
        delivery = await next_of(one)
        async with backend.subscription(kind="events", cfg=work(claim_idle=0.6, consumer="other")) as other:
            with anyio.move_on_after(2 * 0.6):
                await anext(other)
                pytest.fail("It was taken from a living worker.")
        assert await pending_rows(wire, member(stream)) == {delivery.entry_id: ("me", 1)}
        await delivery.ack()
    assert backend.metrics.leases_lost == 0


@pytest.mark.parametrize(
    ("verb", "arguments"), [("ack", []), ("nack", []), ("reject", ["why"]), ("__aexit__", [None] * 3)]
)
async def test_to_settle_what_another_has_taken_does_nothing_and_says_so(
    backend: RedisStreamsPersistence, wire: Wire, stream: str, verb: str, arguments: list[Any]
) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        delivery = await next_of(subscription)
        await wire("XCLAIM", stream, GROUP, "thief", 0, delivery.id)
        with pytest.raises(LeaseLost, match=f"{delivery.id} of {stream} is no longer this consumer's"):
            await getattr(delivery, verb)(*arguments)
        assert delivery.is_lost
    assert await pending_rows(wire, member(stream)) == {delivery.entry_id: ("thief", 2)}
    assert await backend.quarantine_list(kind="events") == ()
    assert (backend.metrics.leases_lost, backend.metrics.entries_acknowledged) == (1, 0)
    assert await consumers(backend) == {"thief"}


async def test_to_acknowledge_what_another_has_acknowledged_says_so(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, [0])
    async with backend.subscription(kind="events", cfg=work(claim_idle=LONG)) as subscription:
        delivery = await next_of(subscription)
        await wire("XACK", stream, GROUP, delivery.id)
        with pytest.raises(LeaseLost):
            await delivery.ack()


async def test_a_lost_lease_is_known_with_the_next_renewal(
    backend: RedisStreamsPersistence, wire: Wire, stream: str
) -> None:
    await record(backend, range(2))
    async with backend.subscription(kind="events", cfg=work(claim_idle=2.0)) as subscription:
        lost, kept = [await next_of(subscription) for _ in range(2)]
        await wire("XCLAIM", stream, GROUP, "thief", 0, lost.id, "IDLE", 0)
        with anyio.fail_after(5):
            while not lost.is_lost:
                await anyio.sleep(0.01)
        assert kept.is_open
        await kept.ack()
    assert backend.metrics.leases_lost == 1
