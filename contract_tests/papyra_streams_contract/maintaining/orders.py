"""What a client process is to do."""

from dataclasses import dataclass
from typing import Literal

from papyra.persistence.backends.retention import RetentionPolicy
from papyra.persistence.models import PersistenceRecoveryConfig, PersistenceRecoveryMode

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence
from papyra_streams.domain.keys import Keyspace

Operation = Literal["quarantine", "repair", "rebuild", "compact"]
OPERATIONS: tuple[Operation, ...] = ("quarantine", "repair", "rebuild", "compact")

RECORDS_KEPT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """An operation on the streams that have a prefix.

    ``approximate`` -- whether a compaction may leave some old entries
    """

    url: str
    driver: str
    prefix: str
    operation: Operation
    approximate: bool

    @property
    def keys(self) -> Keyspace:
        """The names of the keys."""
        return self._config().keyspace()

    def backend(self) -> RedisStreamsPersistence:
        """Make the backend that carries them out. Only a compaction has a policy: it would hide bad entries too."""
        policy = RetentionPolicy(max_records=RECORDS_KEPT) if self.operation == "compact" else None
        return RedisStreamsPersistence(self._config(), retention_policy=policy)

    async def carry_out(self, backend: RedisStreamsPersistence) -> None:
        """Run the operation to its end."""
        if self.operation == "compact":
            await backend.compact()
        else:
            mode = PersistenceRecoveryMode(self.operation)
            await backend.recover(PersistenceRecoveryConfig(mode=mode), full=True)

    def _config(self) -> RedisStreamsConfig:
        return RedisStreamsConfig(url=self.url, driver=self.driver, prefix=self.prefix, approx_trim=self.approximate)
