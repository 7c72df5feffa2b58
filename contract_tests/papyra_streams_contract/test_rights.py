"""What each kind of user has to be allowed on the server: enough for all it does, and nothing that it never needs."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams import PermissionDenied
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition
from papyra_streams.ports import ProducerMark

from .acting import GIVEN_UP, OLD, Stage, can_have_readable_keys, consume, lay_out
from .backends import QUARANTINE, REBUILD, REPAIR, WORKERS, OpenBackend, event
from .fixtures import IMPATIENT, OpenStore
from .rights import CONSUMER, DASHBOARD, EVERYTHING, KEYS, OPERATOR, PLAIN_CONSUMER, PROBE, ROLES, WRITER, Role
from .secrecy import SECRET
from .servers import PrivateServer, target_of
from .wire import Reply, Wire, WireError

pytestmark = [
    pytest.mark.asyncio(loop_scope="function"),
    pytest.mark.topologies(
        *("standalone", "tls", "acl"),
        reason="a cluster and Sentinels ask for rights beside those of a role, on each node",
    ),
]

by_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


class MakeStage(Protocol):
    """Admit a user on a server of its own."""

    def __call__(self, role: Role, *, database: int = 0, **settings: Any) -> Awaitable[Stage]:
        """Admit it.

        :param settings: of its backend
        """


@pytest_asyncio.fixture(loop_scope="function")
async def make_stage(
    open_backend: OpenBackend, open_store: OpenStore, private_server: PrivateServer, private_wire: Wire
) -> MakeStage:
    """Return a function that admits users."""

    async def make(role: Role, *, database: int = 0, **settings: Any) -> Stage:
        endpoint = replace(private_server.endpoint, username=role.name, password=SECRET, database=database)
        url = urlsplit(private_server.url_as(role.name, SECRET))._replace(path=f"/{database}").geturl()
        policy = RetentionPolicy(max_age_seconds=60.0)
        backend = open_backend(policy, **{"url": url, "prefix": "papyra", "abandoned_after": 60.0, **settings})
        store = open_store(target_of(url), IMPATIENT)
        stage = Stage(endpoint=endpoint, backend=backend, store=store, wire=private_wire)
        await stage.admit(role)
        return stage

    return make


@by_role
async def test_the_rights_of_a_role_suffice_for_all_it_does(make_stage: MakeStage, role: Role) -> None:
    stage = await make_stage(role)
    await stage.act(role)


@by_role
async def test_without_any_one_of_its_rights_a_role_is_denied_something(make_stage: MakeStage, role: Role) -> None:
    stage = await make_stage(role)
    names_all = await _names_what_scripts_may_not(stage)
    for right in role.commands:
        await stage.admit(role, without=right)
        with pytest.raises(PermissionDenied) as denied:
            await stage.act(role)
        # What a script may not has no code of its own.
        is_named = names_all or denied.value.code == "NOPERM"
        assert _names(denied.value, right) is is_named, f"{right}: {denied.value}"


async def _names_what_scripts_may_not(stage: Stage) -> bool:
    """Tell whether the server says which command a script was denied; Redis 6.2 and 7.0 do not."""
    async with aclosing(Wire(stage.endpoint)) as wire:
        with pytest.raises(WireError) as denied:
            await wire("EVAL", "return redis.call('ECHO', '')", 0)
    return "echo" in str(denied.value)


def _names(error: PermissionDenied, right: str) -> bool:
    # Redis 6.2 says no more than the first.
    command, _, subcommand = right.partition("|")
    return f"'{right}' command" in str(error) or (subcommand != "" and f"'{command}' command or its" in str(error))


async def test_a_system_that_does_everything_needs_what_all_roles_need(make_stage: MakeStage) -> None:
    stage = await make_stage(EVERYTHING)
    for role in ROLES:
        await stage.admit(EVERYTHING)
        await stage.act(role)


@by_role
async def test_no_role_reaches_the_keys_of_another_system(make_stage: MakeStage, role: Role) -> None:
    stage = await make_stage(role, system_id="shipping")
    with pytest.raises(PermissionDenied):
        await stage.act(role)


@pytest.mark.parametrize("role", [CONSUMER, OPERATOR, DASHBOARD], ids=lambda role: role.name)
async def test_a_quarantine_of_another_prefix_needs_its_keys(make_stage: MakeStage, role: Role) -> None:
    stage = await make_stage(role, quarantine_prefix="graveyard")
    with pytest.raises(PermissionDenied):
        await stage.act(role)
    await stage.admit(role, keys=(*KEYS, "graveyard:*"))
    await stage.act(role)


async def test_who_consumes_without_subscriptions_needs_no_scripts(make_stage: MakeStage) -> None:
    assert await consume(await make_stage(PLAIN_CONSUMER)) == 2


async def test_a_database_of_another_number_needs_the_right_to_select_it(make_stage: MakeStage) -> None:
    stage = await make_stage(WRITER, database=1)
    with pytest.raises(PermissionDenied, match="select"):
        await stage.act(WRITER)
    await stage.grant("+select")
    await stage.act(WRITER)


async def test_a_record_that_may_not_be_written_is_counted_and_its_right_is_named_in_the_log(
    make_stage: MakeStage, caplog: pytest.LogCaptureFixture
) -> None:
    stage = await make_stage(WRITER)
    is_named = await _names_what_scripts_may_not(stage)
    await stage.admit(WRITER, without="xadd")
    await stage.backend.record_event(event(1))

    assert stage.backend.metrics.write_errors == 1
    assert ("'xadd'" in caplog.text) is is_named


async def test_a_compaction_that_may_not_measure_reports_no_bytes(make_stage: MakeStage) -> None:
    stage = await make_stage(OPERATOR)
    assert (await stage.backend.compact()).before_bytes is not None
    await stage.admit(OPERATOR, without="memory|usage")
    assert (await stage.backend.compact()).before_bytes is None


async def test_a_dry_run_needs_a_right_more_where_groups_are_abandoned(make_stage: MakeStage) -> None:
    stage = await make_stage(DASHBOARD)
    await lay_out(stage)
    with pytest.raises(PermissionDenied):
        await stage.backend.compact(dry_run=True)
    await stage.grant("+hget")
    assert (await stage.backend.compact(dry_run=True)).before_bytes is None


async def test_reads_that_claim_need_the_key_they_are_found_out_with(
    make_stage: MakeStage, open_store: OpenStore, private_server: PrivateServer
) -> None:
    can_claim = (await open_store(private_server.target, IMPATIENT).capabilities()).claiming_reads
    stage = await make_stage(CONSUMER)
    assert not (await stage.store.capabilities()).claiming_reads

    await stage.grant(f"~{PROBE}")
    again = open_store(private_server.target_as(CONSUMER.name, SECRET), IMPATIENT)
    assert (await again.capabilities()).claiming_reads is can_claim


# -- a dashboard cannot write

Write = Callable[[Stage], Awaitable[object]]


def _mark(stage: Stage) -> ProducerMark:
    return ProducerMark(key=stage.keys.producer_mark(Partition(EVENTS), "one"), first=1, lifetime=60)


WRITES: dict[str, Write] = {
    "append": lambda stage: stage.store.append(stage.events, [b"{}"], mark=_mark(stage)),
    "ensure_consumer_group": lambda stage: stage.backend.ensure_consumer_group(kind="events", group="others"),
    "consume": lambda stage: stage.backend.consume(kind="events", cfg=WORKERS),
    "claim": lambda stage: stage.backend.claim(
        "events", group="workers", consumer="me", min_idle_ms=0, entry_ids=[OLD]
    ),
    "ack": lambda stage: stage.backend.ack(kind="events", group="workers", ids=[OLD]),
    "quarantine": lambda stage: stage.backend.recover(QUARANTINE),
    "repair": lambda stage: stage.backend.recover(REPAIR),
    "rebuild": lambda stage: stage.backend.recover(REBUILD),
    "compact": lambda stage: stage.backend.compact(),
    "remove_idle_consumers": lambda stage: stage.backend.remove_idle_consumers(
        kind="events", group="workers", older_than=0.001
    ),
    "quarantine_replay": lambda stage: stage.backend.quarantine_replay(kind="events", ids=[GIVEN_UP]),
    "quarantine_drop": lambda stage: stage.backend.quarantine_drop(kind="events", ids=[GIVEN_UP]),
}


async def test_a_dashboard_cannot_write(make_stage: MakeStage) -> None:
    stage = await make_stage(DASHBOARD)
    await _assert_nothing_can_be_written(stage)


async def test_a_dashboard_whose_keys_may_be_read_alone_cannot_write_whatever_else_it_is_granted_by_mistake(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage(DASHBOARD)
    if not await can_have_readable_keys(stage.wire):
        with pytest.raises(WireError, match="%R~"):
            await stage.admit(DASHBOARD, readable=True)
        return
    # Servers take it for a command that only reads.
    await stage.grant("+@all", "-xreadgroup")
    await _assert_nothing_can_be_written(stage)


async def _assert_nothing_can_be_written(stage: Stage) -> None:
    await lay_out(stage)
    there = await _all_there_is(stage.wire)
    for call in WRITES.values():
        with pytest.raises(PermissionDenied):
            await call(stage)
    assert await _all_there_is(stage.wire) == there


async def _all_there_is(wire: Wire) -> dict[bytes, Reply]:
    return {key: await wire("DUMP", key) for key in await wire.keys("*")}
