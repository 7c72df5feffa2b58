"""What keeps reading the streams of one place for a subscription, whatever happens to the connection or the group."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import anyio

from papyra_streams.application.metrics import StreamsMetrics
from papyra_streams.application.outages import OUTAGES, Outage, pause
from papyra_streams.domain.subscribing import SubscriptionConfig
from papyra_streams.errors import AuthenticationFailed, GroupMissing, Indeterminate, StreamsError
from papyra_streams.ports import DeliveryPort

from .intake import Intake
from .source import Source

logger = logging.getLogger("papyra_streams")

# Where somebody destroys the group again and again, others are to have the server, too.
_SECONDS_AFTER_A_LOSS = 0.05


class Reading:
    """Reads until it is told to stop, or until something goes wrong that waiting does not mend."""

    def __init__(
        self,
        store: DeliveryPort,
        cfg: SubscriptionConfig,
        sources: Sequence[Source],
        intake: Intake,
        was_let_in: anyio.Event,
        metrics: StreamsMetrics,
    ) -> None:
        """Read with an intake.

        :param was_let_in: set once the password has worked, of whatever server
        """
        self._store = store
        self._cfg = cfg
        self._sources = sources
        self._intake = intake
        self._metrics = metrics
        self._outage = Outage(f"Reading for group {cfg.group!r}")
        self._stopping = anyio.Event()
        self._missing = list(sources)
        self._known: set[Source] = set()
        self._was_let_in = was_let_in

    def stop(self) -> None:
        """Read nothing any more; what the server holds back is waited for."""
        self._stopping.set()
        self._intake.stop()

    async def run(self) -> Exception | None:
        """Read, and return what ended the reading if it was not the asking."""
        fault = await _fault_of(self._read_on)
        missed = await _fault_of(self._intake.finish)
        # What did not arrive is given to others once it has been idle for long enough.
        return fault or (None if isinstance(missed, StreamsError) else missed)

    async def _read_on(self) -> None:
        while not self._stopping.is_set():
            await self._turn()

    async def _turn(self) -> None:
        try:
            has_answered = await self._join()
            has_answered |= await self._read()
        except OUTAGES as error:
            # A password that never worked is a mistake; one that worked may have been changed.
            if isinstance(error, AuthenticationFailed) and not self._was_let_in.is_set():
                raise
            if isinstance(error, Indeterminate):
                self._intake.restart()
            await pause(self._outage.next_delay(error), self._stopping)
        else:
            if has_answered:
                self._was_let_in.set()
                self._outage.is_over()

    async def _read(self) -> bool:
        try:
            with self._intake.share:
                return await self._intake.turn()
        except GroupMissing:
            self._intake.rejoin()
            self._missing = list(self._sources)
            await pause(_SECONDS_AFTER_A_LOSS, self._stopping)
            return True

    async def _join(self) -> bool:
        is_to_join = bool(self._missing)
        while self._missing:
            source = self._missing[-1]
            joined = await self._store.join(
                source.member,
                start=self._cfg.start_id,
                on_loss=self._cfg.on_group_lost,
                expected=source in self._known,
            )
            if source in self._known:
                self._intake.forget(source, joined.after)
            self._known.add(source)
            self._missing.pop()
            if joined.how == "restored":
                self._metrics.groups_restored += 1
                logger.warning(
                    "Group %r of %s was gone; it was created anew and goes on after %s.",
                    *(self._cfg.group, source.stream, joined.after),
                )
        return is_to_join


async def _fault_of(call: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await call()
    except Exception as error:  # noqa: BLE001 -- whoever takes deliveries is told
        return error
    return None
