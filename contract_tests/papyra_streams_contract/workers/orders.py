"""What a worker process is told, and what it says of itself at the end."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from papyra_streams import RedisStreamsConfig, SubscriptionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker is to do.

    ``handling_seconds`` -- how long its handler takes for each entry
    ``fatal_number`` -- the event, by its number, that kills the process of whoever handles it, after half a second
    ``keeps_ledger`` -- whether it notes what it handles
    ``samples_memory_every`` -- after how many entries it looks at its memory
    """

    url: str
    driver: str
    directory: str
    prefix: str = RedisStreamsConfig().prefix
    partitions: int = 1
    group: str = "workers"
    ordering: Literal["none", "actor", "stream"] = "none"
    on_group_lost: Literal["resume", "replay", "fail"] = "resume"
    concurrency: int = 10
    claim_idle: float = 60.0
    grace: float = 8.0
    max_deliveries: int | None = None
    handling_seconds: float = 0.0
    fatal_number: int | None = None
    keeps_ledger: bool = True
    samples_memory_every: int = 10_000

    @property
    def config(self) -> RedisStreamsConfig:
        """The settings of its backend."""
        return RedisStreamsConfig(url=self.url, driver=self.driver, prefix=self.prefix, partitions=self.partitions)

    @property
    def subscription(self) -> SubscriptionConfig:
        """How it shares in the group. Attempts have no bound where none is given: most faults are others'."""
        return SubscriptionConfig(
            group=self.group,
            ordering=self.ordering,
            on_group_lost=self.on_group_lost,
            concurrency=self.concurrency,
            claim_idle=self.claim_idle,
            grace=self.grace,
            max_deliveries=self.max_deliveries,
        )

    @property
    def ledger(self) -> Path:
        """The file in which it notes what it handles."""
        return Path(self.directory) / "ledger"

    @property
    def log(self) -> Path:
        """The file that takes what it logs and prints."""
        return Path(self.directory) / "log"

    @property
    def summary(self) -> Path:
        """The file that is written when it has ended by itself."""
        return Path(self.directory) / "summary"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """The memory of a worker that has handled so many entries: blocks Python has allocated, and the most bytes ever."""

    handled: int
    blocks: int
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a worker saw of itself. ``error`` names what its loop raised; empty if it returned."""

    error: str
    acknowledged: int
    redelivered: int
    leases_lost: int
    groups_restored: int
    memory: tuple[MemorySample, ...]
