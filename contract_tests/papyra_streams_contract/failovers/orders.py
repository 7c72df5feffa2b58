"""What the process with the traffic in it is told, and what it says at the end."""

from dataclasses import dataclass
from pathlib import Path

from papyra_streams import RedisStreamsConfig, WritePolicy
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

# Longer than any failover takes, so that what is lost is lost by the servers.
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the process is to do.

    ``system_id`` -- whose events it records, so that each round has a stream of its own
    ``writers`` -- how many actors record at a time, each one event after another
    ``pause`` -- for how many seconds each rests after an event
    """

    url: str
    driver: str
    durability: str
    system_id: str
    directory: str
    writers: int = 8
    pause: float = 0.001

    @property
    def config(self) -> RedisStreamsConfig:
        """The settings of its backend: the defaults, but that nothing is given up."""
        return RedisStreamsConfig(
            url=self.url,
            driver=self.driver,
            system_id=self.system_id,
            max_read=10**6,
            write_policy=WritePolicy(durability=self.durability, queue_seconds=_LONGEST_WAIT, on_shortfall="count"),
        )

    @property
    def stream(self) -> str:
        """The key of the events."""
        return self.config.keyspace().stream(Partition(EVENTS))

    @property
    def progress(self) -> Path:
        """The file that says how many calls have returned."""
        return Path(self.directory) / "progress"

    @property
    def summary(self) -> Path:
        """The file that is written when it has ended."""
        return Path(self.directory) / "summary"

    @property
    def log(self) -> Path:
        """The file that takes what it logs."""
        return Path(self.directory) / "log"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event for which ``record_event`` has returned; times are nanoseconds of the machine's own clock.

    ``confirmed`` -- whether no counter has grown meanwhile that tells of something else than what durability promises
    """

    actor: str
    number: int
    begun: int
    ended: int
    confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the process saw. ``received`` -- actor and number of all that its subscription was given, in that order."""

    recorded: list[Recorded]
    received: list[tuple[str, int]]
