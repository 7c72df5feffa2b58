"""How records are written while the server is well, and what becomes of them while it is not."""

import re
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from papyra_streams.errors import InvalidValue

from .arguments import check_count, check_number_of_seconds, check_seconds

_REPLICAS = re.compile(r"replicas=([1-9][0-9]{0,3})")
_LARGEST = 2**40
# With a spool, the disk is soon the safer place. Without one, memory is the only place; but an actor system that ends
# waits for its records, and container engines give a process ten seconds to end.
_SECONDS_BEFORE_THE_SPOOL = 1.0
_SECONDS_BEFORE_THE_LOSS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    """What ``record_*`` waits for, and where records stay while the server is away.

    :raises InvalidValue: if a setting cannot be used
    """

    durability: str = "memory"
    """When a record counts as stored: ``"memory"``, the server has it; ``"fsync"``, the server has synced its
    append-only file (WAITAOF: Redis 7.2 and Valkey, with ``appendonly yes``); ``"replicas=2"``, two replicas have it
    too (WAIT). ``"memory"``, since that is what Papyra's own backend promises, and the fastest."""

    durability_timeout: float = 1.0
    """How long the server may wait for that, in seconds, before it counts as a shortfall. An fsync takes milliseconds,
    so that a second tells of a fault."""

    on_shortfall: Literal["log", "count"] = "log"
    """What to do when it does not come in time: ``"log"`` counts it and logs a warning when it begins and when it ends;
    ``"count"`` only counts. The record is in the stream in any case, and is not written again."""

    linger: float = 0.005
    """How long a record may wait for others to share its round trip, in seconds. It does so only if the last one began
    more recently than that, and its caller has not recorded before: a lone record, and who records one after another,
    wait for nobody. At a thousand events a second it makes two hundred round trips of a thousand, whose cost the actors
    would feel. 0 sends each at once."""

    queue_records: int = 10_000
    """How many records may wait in memory while the server does not answer; then the oldest go to the spool, or are
    dropped. A thousand a second for ten seconds."""

    queue_bytes: int = 64 * 1024 * 1024
    """How many bytes of records may, likewise. So much memory an outage may cost, and about as much again for the tasks
    that wait."""

    queue_seconds: float | None = None
    """How long a record may wait in memory before it goes to the spool, or is dropped, in seconds. None means 1 with a
    spool that works, which is safer than memory, and 5 without one, within which most servers restart. An actor system
    that ends waits as long for its records; to outlive a failover, which may take longer, use a spool."""

    backoff: float = 0.05
    """How long to wait before the second attempt, in seconds; twice as long before each further one, less a random
    part, so that many clients do not come back at once."""

    backoff_limit: float = 2.0
    """The longest wait between two attempts, in seconds: so soon is a server that is back noticed."""

    spool_dir: str | PathLike[str] | None = None
    """A directory on local disk that takes records while the server is away, and gives them back in order, also to the
    next process. Processes may share it. None means that records past the bounds are dropped, the oldest first."""

    spool_bytes: int = 1024**3
    """How large the spool may become, in bytes on disk, before records are dropped after all: some three million."""

    close_timeout: float = 5.0
    """How long ``aclose()`` waits for the server to take what is under way, in seconds; what is left then goes to the
    spool, or is dropped. Well under the ten seconds that container engines give a process to end."""

    def __post_init__(self) -> None:
        if self.durability not in ("memory", "fsync") and not (
            isinstance(self.durability, str) and _REPLICAS.fullmatch(self.durability)
        ):
            raise InvalidValue(f'`durability` must be "memory", "fsync" or "replicas=N", not {self.durability!r}.')
        if self.on_shortfall not in ("log", "count"):
            raise InvalidValue(f'`on_shortfall` must be "log" or "count", not {self.on_shortfall!r}.')
        for name in ("durability_timeout", "backoff", "backoff_limit", "close_timeout"):
            check_seconds(name, getattr(self, name))
        check_number_of_seconds("linger", self.linger)
        if self.queue_seconds is not None:
            check_seconds("queue_seconds", self.queue_seconds)
        if self.backoff > self.backoff_limit:
            raise InvalidValue(f"`backoff` ({self.backoff}) must not be longer than `backoff_limit`.")
        for name in ("queue_records", "queue_bytes", "spool_bytes"):
            check_count(name, getattr(self, name), at_most=_LARGEST)
        if self.spool_dir is not None and not _is_path(self.spool_dir):
            raise InvalidValue(f"`spool_dir` must be the path of a directory, or None, not {self.spool_dir!r}.")

    @property
    def fsync(self) -> bool:
        """Whether the server is to sync its append-only file."""
        return self.durability == "fsync"

    @property
    def replicas(self) -> int:
        """How many replicas are to have each record."""
        match = _REPLICAS.fullmatch(self.durability)
        return int(match[1]) if match else 0

    @property
    def confirming(self) -> float:
        """For how many seconds a server that is well may hold a batch's answer back, until it confirms or not."""
        return self.durability_timeout if self.durability != "memory" else 0.0

    def patience(self, *, has_spool: bool) -> float:
        """Tell how long a record may wait in memory, in seconds, where there is a spool that works, or none."""
        if self.queue_seconds is not None:
            return self.queue_seconds
        return _SECONDS_BEFORE_THE_SPOOL if has_spool else _SECONDS_BEFORE_THE_LOSS

    @property
    def spool_path(self) -> Path | None:
        """The directory of the spool, if there is one."""
        return None if self.spool_dir is None else Path(self.spool_dir).expanduser()


def _is_path(value: object) -> bool:
    return isinstance(value, str | PathLike) and isinstance(path := fspath(value), str) and bool(path.strip())
