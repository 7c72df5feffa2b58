"""What must hold after every fault."""

from papyra_streams import WritePolicy
from papyra_streams.endpoint import Endpoint

from .accounts import Account, Ledger, settle, stored_numbers
from .living import LivingSystem

STREAMS = ("papyra:local:events", "papyra:local:dead_letters")
LONGEST_ANSWER = 1.0
_MARGIN = 2.0
# How long a record waits in memory where the policy names no time; a spool that fails is none.
_WAIT_WITH_SPOOL = 1.0
_WAIT_WITHOUT_SPOOL = 5.0


async def check_nothing_lost(run: LivingSystem, server: Endpoint, *, remark: str = "") -> None:
    """Check that every record is in its stream once and in order, and that the system lived throughout."""
    for ledger, stream in _streams(run):
        stored = await stored_numbers(server, stream, first=ledger.first)
        account = settle(ledger, stored)
        assert account == Account(), f"{stream} {remark}: {account} {run.backend.metrics}"
    assert run.backend.metrics.records_dropped == 0
    check_life(run)


async def check_lost_are_counted(run: LivingSystem, server: Endpoint, *, uncertain: int = 0) -> None:
    """Check that every record is in its stream once and in order, or counted as dropped; otherwise the same.

    :param uncertain: how many records may have been counted that the server had taken without its answer being heard
    """
    missing = 0
    for ledger, stream in _streams(run):
        account = settle(ledger, await stored_numbers(server, stream, first=ledger.first))
        missing += account.missing
        wrong = (account.repeated, account.out_of_order, account.never_recorded)
        assert wrong == ([], [], []), (stream, wrong)
    dropped = run.backend.metrics.records_dropped
    assert missing <= dropped <= missing + uncertain + run.cancelled, (missing, run.backend.metrics)
    check_life(run)


async def check_first_comes_first(server: Endpoint) -> None:
    """Check that whoever has the lower numbers has all its records before those of the others."""
    for stream in STREAMS:
        stored = await stored_numbers(server, stream)
        assert stored == sorted(stored), stream


def check_life(run: LivingSystem) -> None:
    """Check that actors were answered, calls returned, closing ended, and the counters add up."""
    metrics, stats, policy = run.backend.metrics, run.backend.stats(), run.backend.config.write_policy
    assert run.answers > 0
    assert run.slowest_answer < LONGEST_ANSWER
    assert run.slowest_call < _longest_wait(policy, has_spool=not metrics.spool_errors) + _MARGIN
    assert run.closing_seconds < longest_closing(policy)
    assert run.backend.closed
    assert len(run.events.returned) == run.events.asked - run.cancelled
    assert (stats.queued, stats.queued_bytes, stats.in_flight) == (0, 0, 0)
    assert metrics.write_errors == metrics.records_dropped


def longest_closing(policy: WritePolicy) -> float:
    """Return how long an actor system may take to close, in seconds: its tasks end first, then the backend."""
    return min(_longest_wait(policy, has_spool=True), 1.0) + policy.close_timeout + _MARGIN


def _longest_wait(policy: WritePolicy, *, has_spool: bool) -> float:
    if policy.queue_seconds is not None:
        return policy.queue_seconds
    return _WAIT_WITH_SPOOL if has_spool and policy.spool_dir else _WAIT_WITHOUT_SPOOL


def _streams(run: LivingSystem) -> list[tuple[Ledger, str]]:
    return list(zip((run.events, run.dead_letters), STREAMS, strict=True))
