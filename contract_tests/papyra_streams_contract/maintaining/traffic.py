"""Others who use the stream while an operation runs, and what the server has confirmed to them."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random

from papyra_streams.domain.kinds import EVENTS
from papyra_streams.endpoint import Endpoint
from papyra_streams_contract.wire import Wire

from .arranging import SLOW
from .material import Fields, bad, good

READER = b"reader"
READ_AT_ONCE = 20

_MOST_WRITTEN = 300
_MOST_READ = 50
_ACKNOWLEDGED_AT_ONCE = 5
_FIRST_NUMBER = 1_000_000


@dataclass(slots=True)
class Ledger:
    """What is confirmed, and what nobody answered for.

    ``bad`` -- the ids of those written entries that no read can return
    ``given`` -- what the slow group's reader was given, in order; ``acknowledged`` -- in the name of whomever
    ``deleted`` -- the ids of good entries that somebody took out
    ``writing``, ``deleting``, ``is_reading``, ``acknowledging`` -- is under way, and may have happened
    """

    written: dict[bytes, Fields] = field(default_factory=dict)
    bad: set[bytes] = field(default_factory=set)
    given: list[bytes] = field(default_factory=list)
    acknowledged: set[bytes] = field(default_factory=set)
    deleted: set[bytes] = field(default_factory=set)
    deleting: frozenset[bytes] = frozenset()
    writing: Fields | None = None
    writing_bad: bool = False
    is_reading: bool = False
    acknowledging: frozenset[bytes] = frozenset()

    def resolve(self, entry_id: bytes) -> None:
        """Take note that what was being written is there."""
        assert self.writing is not None
        self.written[entry_id] = self.writing
        if self.writing_bad:
            self.bad.add(entry_id)
        self.writing = None


class Traffic:
    """A writer, and a consumer of the slow group, that go on until they are stopped or the server goes away.

    :param held: what the slow group has in hand, oldest first: some of that is acknowledged too
    :param doomed: good entries, of which the writer takes one out with each that it adds
    """

    def __init__(
        self, server: Endpoint, stream: str, chance: Random, *, held: list[bytes], doomed: list[bytes]
    ) -> None:
        self.ledger = Ledger()
        self._server = server
        self._stream = stream
        self._chance = chance
        self._held = held
        self._doomed = doomed
        self._is_stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    async def stop(self) -> None:
        """Let what is under way be confirmed, where the server is still there, and end."""
        self._is_stopped = True
        for task in self._tasks:
            try:
                await task
            except (OSError, EOFError):
                # The server went first.
                continue

    async def _write(self) -> None:
        ledger = self.ledger
        async with aclosing(Wire(self._server)) as wire:
            for number in range(_FIRST_NUMBER, _FIRST_NUMBER + _MOST_WRITTEN):
                if self._is_stopped:
                    return
                ledger.writing_bad = self._chance.random() < 0.3
                make = bad if ledger.writing_bad else good
                ledger.writing = make(EVENTS, number, self._chance)
                ledger.resolve(await wire.text("XADD", self._stream, "*", *ledger.writing))
                await self._delete(wire)

    async def _delete(self, wire: Wire) -> None:
        if not self._doomed:
            return
        entry_id = self._doomed.pop()
        self.ledger.deleting = frozenset({entry_id})
        await wire("XDEL", self._stream, entry_id)
        self.ledger.deleted.add(entry_id)
        self.ledger.deleting = frozenset()

    async def _read(self) -> None:
        async with aclosing(Wire(self._server)) as wire:
            for _ in range(_MOST_READ):
                if self._is_stopped:
                    return
                given = await self._take(wire)
                own, held = given[::2][:_ACKNOWLEDGED_AT_ONCE], self._held[:_ACKNOWLEDGED_AT_ONCE]
                del self._held[:_ACKNOWLEDGED_AT_ONCE]
                await self._acknowledge(wire, frozenset(own + held))

    async def _take(self, wire: Wire) -> list[bytes]:
        self.ledger.is_reading = True
        reply = await wire("XREADGROUP", "GROUP", SLOW, READER, "COUNT", READ_AT_ONCE, "STREAMS", self._stream, ">")
        given = []
        match reply:
            case [[_, list(rows)]]:
                given = [row[0] for row in rows if isinstance(row, list) and isinstance(row[0], bytes)]
        self.ledger.given += given
        self.ledger.is_reading = False
        return given

    async def _acknowledge(self, wire: Wire, ids: frozenset[bytes]) -> None:
        if not ids:
            return
        self.ledger.acknowledging = ids
        await wire("XACK", self._stream, SLOW, *ids)
        self.ledger.acknowledged |= ids
        self.ledger.acknowledging = frozenset()
