"""One of the streams that a subscription reads."""

from collections.abc import Callable
from dataclasses import dataclass

from papyra.persistence.models import PersistedAudit, PersistedDeadLetter, PersistedEvent

from papyra_streams.domain import records
from papyra_streams.domain.kinds import AUDITS, DEAD_LETTERS, EVENTS, Kind
from papyra_streams.domain.partitions import Partition
from papyra_streams.domain.records import Record
from papyra_streams.ports import Member

PersistedRecord = PersistedEvent | PersistedAudit | PersistedDeadLetter

MODELS: dict[Kind, Callable[[Record, str], PersistedRecord]] = {
    EVENTS: records.event,
    AUDITS: records.audit,
    DEAD_LETTERS: records.dead_letter,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A stream, this worker as a member of its group, and where the group's dead letters go."""

    member: Member
    partition: Partition
    system_id: str
    quarantine: str

    @property
    def kind(self) -> Kind:
        """What is recorded there."""
        return self.partition.kind

    @property
    def stream(self) -> str:
        """The stream's key."""
        return self.member.stream
