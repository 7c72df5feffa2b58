"""Which records a retention policy shows: the young ones, of these the newest so many, of these so many bytes.

The order is Papyra's. It is applied from the newest record backwards, so that a reader may stop as soon as no older
record can be shown.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams.errors import InvalidValue

from .arguments import is_number, is_whole
from .entries import EntryId
from .records import Record, Unreadable, is_epoch_time

# How far the clocks of an actor system and of its server may be apart where timestamps are compared with a time.
CLOCK_DIFFERENCE = 3600.0

# An entry that has been in its stream for so much longer than the age is older than it, whatever its timestamp says.
_GRACE = 60.0


@dataclass(slots=True)
class Horizon:
    """A moment before which nothing is shown, in seconds since the epoch.

    ``margin`` -- by how many seconds a timestamp may lie ahead of its entry's id
    """

    moment: float
    margin: float = CLOCK_DIFFERENCE

    def hides(self, record: Record) -> bool:
        """Tell whether a record lies before it."""
        return record.moment < self.moment or self.passed(record.id)

    def hides_unreadable(self, entry_id: EntryId) -> bool:
        """Tell whether an entry without a timestamp lies before it: it is as old as its id."""
        return entry_id.seconds < self.moment

    def passed(self, entry_id: EntryId) -> bool:
        """Tell whether this entry and all older ones lie before it, judging by the id."""
        return is_epoch_time(entry_id.seconds) and entry_id.seconds < self.moment - self.margin

    @property
    def first_id(self) -> EntryId:
        """About the first id that has not `passed`; none before it has not."""
        # A millisecond less than that, for what dividing by 1000 rounds.
        return EntryId(max(0, math.floor((self.moment - self.margin) * 1000) - 1), 0)


def horizon(policy: RetentionPolicy, now: float) -> Horizon | None:
    """Return the moment before which a policy shows nothing because of its age; None if that does not count."""
    return None if policy.max_age_seconds is None else Horizon(now - policy.max_age_seconds, _GRACE)


def is_limited(policy: RetentionPolicy) -> bool:
    """Tell whether a policy hides anything at all."""
    return (policy.max_records, policy.max_age_seconds, policy.max_total_bytes) != (None, None, None)


class RetentionWalk:
    """Applies a policy to one stream's entries, given from the newest to the oldest."""

    def __init__(self, policy: RetentionPolicy, now: float) -> None:
        self._records = policy.max_records
        self._bytes = policy.max_total_bytes
        self._horizon = horizon(policy, now)
        self.over = False

    def shows(self, record: Record) -> bool:
        """Tell whether this record is shown; once ``over`` is true, nothing older is."""
        if self._horizon and self._horizon.hides(record):
            self.over = self._horizon.passed(record.id)
            return False
        if self._bytes is not None:
            self._bytes -= record.size
            if self._bytes < 0:
                # As in Papyra: the first record that does not fit ends it, even if an older one would.
                self.over = True
                return False
        if self._records is not None:
            self._records -= 1
            self.over = self._records == 0
        return True

    def concerns(self, unreadable: Unreadable) -> bool:
        """Tell whether an entry that reads skip lies among what is shown; what retention hides is nobody's concern."""
        if not self._horizon:
            return True
        self.over = self._horizon.passed(unreadable.id)
        return not self._horizon.hides_unreadable(unreadable.id)


def check_policy(policy: Any) -> None:
    """Check the limits of a policy.

    :raises InvalidValue: if one is no number, or zero or negative, which would mean to show nothing
    """
    _check_limit(policy, "max_records", is_whole, "a whole number from 1")
    _check_limit(policy, "max_age_seconds", is_number, "a number of seconds greater than 0")
    _check_limit(policy, "max_total_bytes", is_whole, "a whole number from 1")


def _check_limit(policy: Any, name: str, is_usable: Callable[[object], bool], wanted: str) -> None:
    value = getattr(policy, name)
    if value is not None and not (is_usable(value) and value > 0):
        raise InvalidValue(f"The retention policy's `{name}` must be {wanted}, not {value!r}; None means no limit.")
