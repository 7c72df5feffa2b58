"""What a backend counts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from papyra.persistence.metrics import PersistenceMetrics


@dataclass(slots=True)
class StreamsMetrics(PersistenceMetrics):
    """Papyra's counters, and how often writing had to be repeated and reading had to skip.

    ``write_retries`` -- batches that were sent again
    ``write_errors`` -- records that are not stored, or not known to be
    ``unreadable_entries`` -- entries that a consumer could not be handed, each acknowledged for its group
    """

    write_retries: int = 0
    unreadable_entries: int = 0

    def reset(self) -> None:
        """Set every counter to zero; Papyra's own leaves out the errors."""
        for counter in fields(self):
            setattr(self, counter.name, 0)

    def snapshot(self) -> Mapping[str, int]:
        """Return the counters by name."""
        return asdict(self)
