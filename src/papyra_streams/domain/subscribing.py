"""How a group's entries are worked on: how many at a time, for how long, how often, and in which order."""

from dataclasses import dataclass
from typing import Literal

from papyra_streams.errors import InvalidValue

from .arguments import LARGEST, check_choice, check_count, check_number_of_seconds, check_seconds
from .entries import check_start
from .keys import Keyspace, check_name

# A lease is renewed so often before it would end: a late renewal, or a lost one, is made good by the next.
_PARTS_OF_A_LEASE = 4
# A worker looks for stuck entries at least so often, in seconds, to take them over within a second.
_LONGEST_SWEEP_INTERVAL = 0.5
_SHORTEST_LEASE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionConfig:
    """How one worker shares in a consumer group.

    :raises ConfigurationError: if a setting cannot be used
    """

    group: str
    """The group, among whose consumers the entries are divided."""

    consumer: str | None = None
    """This worker's name in the group. None makes one of host, process id and a random part, which nobody else has. Two
    workers that share a name would renew each other's leases: a dead one's entries would never be taken over."""

    systems: tuple[str, ...] = ()
    """The actor systems whose streams are read, by their ``system_id``, all under the backend's ``prefix``. None named
    means the backend's own."""

    start_id: str = "0"
    """Where a group begins that is created for the first time: ``"0"`` at the oldest entry, so that none is missed;
    ``"$"`` with new ones; or after an id."""

    concurrency: int = 10
    """How many handlers run at a time. With ``batch_size`` it bounds how many entries are in hand: read, and neither
    acknowledged nor given up. Ten hide the latency of a handler that waits for others, and weigh little."""

    batch_size: int | None = None
    """How many deliveries a handler is given at most, as a list. None gives it one at a time, which is the simplest to
    get right: what a batch's exception means for each entry of it, only the handler knows."""

    timeout: float | None = None
    """How long a handler may take, in seconds; then it is cancelled, and the attempt has failed. None sets no limit,
    since only you know one."""

    claim_idle: float = 60.0
    """After how many seconds without a sign of life a worker's entries are given to others. A living worker gives one
    four times as often, so that slow handlers lose nothing; a minute forgives a paused process or a short outage."""

    max_deliveries: int | None = 5
    """How often an entry is delivered before it goes to the quarantine; deliveries that a killed process did not live
    to finish count as well. Five, with growing waits between them, outlast a fault of some ten seconds. None delivers
    for ever."""

    backoff: float = 1.0
    """How long an entry whose handler failed waits for its second attempt, in seconds; twice as long for each further
    one, less a random part, so that entries that failed together do not come back together."""

    backoff_limit: float | None = None
    """The longest such wait, in seconds. None means ``claim_idle``: a longer wait keeps the entry in hand."""

    ordering: Literal["none", "actor", "stream"] = "none"
    """``"none"`` handles entries as they come, on every worker of the group. ``"actor"`` handles those of one actor
    address one at a time and in order, ``"stream"`` all of one stream; then one worker of the group is active, and the
    others stand by. ``"none"``, since order costs the others' help."""

    on_group_lost: Literal["resume", "replay", "fail"] = "resume"
    """What to do when the group is gone, as after FLUSHALL or a failover: ``"resume"`` goes on after the last entry up
    to which everything is known to be finished, so that nothing is missed, and what was finished after the oldest
    unfinished entry comes twice; ``"replay"`` begins with the oldest entry; ``"fail"`` raises `GroupMissing`."""

    grace: float = 8.0
    """How long a worker that is to stop lets its handlers go on, in seconds, before it cancels them. Under the ten
    seconds that container engines give a process to end."""

    def __post_init__(self) -> None:
        check_name("group", self.group)
        check_name("consumer", "-" if self.consumer is None else self.consumer)
        _check_systems(self.systems)
        check_start(self.start_id)
        check_count("concurrency", self.concurrency, at_most=LARGEST)
        for name in ("batch_size", "max_deliveries"):
            if (count := getattr(self, name)) is not None:
                check_count(name, count, at_most=LARGEST)
        for name in ("timeout", "backoff_limit"):
            if (seconds := getattr(self, name)) is not None:
                check_seconds(name, seconds)
        check_seconds("claim_idle", self.claim_idle, at_least=_SHORTEST_LEASE)
        check_seconds("backoff", self.backoff)
        check_number_of_seconds("grace", self.grace)
        if self.backoff_limit is not None and self.backoff > self.backoff_limit:
            raise InvalidValue(f"`backoff` ({self.backoff}) must not be longer than `backoff_limit`.")
        check_choice("ordering", self.ordering, ("none", "actor", "stream"))
        check_choice("on_group_lost", self.on_group_lost, ("resume", "replay", "fail"))

    @property
    def slots(self) -> int:
        """How many entries may be in hand."""
        return self.concurrency * (self.batch_size or 1)

    @property
    def claim_idle_ms(self) -> int:
        """``claim_idle`` in milliseconds."""
        return round(self.claim_idle * 1000)

    @property
    def renew_interval(self) -> float:
        """How often leases are renewed, in seconds."""
        return self.claim_idle / _PARTS_OF_A_LEASE

    @property
    def sweep_interval(self) -> float:
        """How often stuck entries are looked for, in seconds."""
        return min(self.renew_interval, _LONGEST_SWEEP_INTERVAL)

    @property
    def longest_backoff(self) -> float:
        """The longest wait between two attempts, in seconds."""
        return self.claim_idle if self.backoff_limit is None else self.backoff_limit


def _check_systems(systems: object) -> None:
    if not isinstance(systems, tuple):
        raise InvalidValue(f"`systems` must be a tuple of system ids, not {systems!r}.")
    for system in systems:
        Keyspace("papyra", system)
    if len(set(systems)) < len(systems):
        raise InvalidValue(f"`systems` {systems!r} names a system twice.")
