"""What is logged of one stream's outage: one line for each turn it takes, however many records it concerns."""

import logging

from papyra_streams.errors import StreamsError

from .outages import OUTAGES

logger = logging.getLogger("papyra_streams")

# Most faults are over with the second attempt.
_ATTEMPTS_BEFORE_A_LINE = 2


class Notices:
    """Logs that records wait, go to the spool, or are lost; and that they are stored again."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._failed_attempts = 0
        self._lost = 0

    def waiting(self, error: Exception | None) -> None:
        """Note that an attempt failed, and that there will be another."""
        self._failed_attempts += 1
        if self._failed_attempts == _ATTEMPTS_BEFORE_A_LINE:
            logger.warning("Records for %s wait for the server: %s", self._stream, error)

    def spooled(self, error: Exception | None) -> None:
        """Note that records go to the spool from now on."""
        level = logging.WARNING if isinstance(error, OUTAGES) else logging.ERROR
        logger.log(level, "Records for %s go to the spool: %s", self._stream, error, exc_info=unforeseen(error))
        self._failed_attempts = 0

    def lost(self, records: int, error: Exception | None) -> None:
        """Note that records are given up."""
        if not self._lost:
            reason = error or "the spool does not take them"
            logger.error(
                "Records for %s are lost until further notice: %s", self._stream, reason, exc_info=unforeseen(error)
            )
        self._lost += records

    def stored(self) -> None:
        """Note that the server takes records."""
        if self._lost or self._failed_attempts >= _ATTEMPTS_BEFORE_A_LINE:
            logger.warning("Records are stored again in %s; %d were lost.", self._stream, self._lost)
        self._lost = self._failed_attempts = 0


def unforeseen(error: Exception | None) -> Exception | None:
    """Return the error if its traceback tells more than its message: where it is none of ours."""
    return None if isinstance(error, StreamsError) else error
