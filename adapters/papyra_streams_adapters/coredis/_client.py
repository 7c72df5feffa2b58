"""Commands through coredis 6.9."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar, cast

import anyio
import anyio.lowlevel
from anyio import BrokenResourceError, ClosedResourceError
from coredis import exceptions as raised

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Indeterminate, StreamsError
from papyra_streams.ports import Timeouts
from papyra_streams.tasks import spawn

from .._resp.client import Argument, Command, Reply, RespClient
from .._resp.packing import encoded
from ._connection import Awaited, Connection
from ._errors import reply_failed
from ._line import Line
from ._lines import Lines, PrivateLines, SharedLine

TalkT = TypeVar("TalkT")

# One for each blocking read that runs at the same time, and as many more for batches.
_PRIVATE = 256
# How many turns of the event loop lie, with some to spare, between bytes at the socket and coredis's counting them.
_TURNS = 10


class CoredisClient(RespClient):
    """Speaks through coredis's connections, one for all commands and one more for each blocking read or batch.

    coredis 6.9's own client is passed by: it compares Valkey's version with Redis's, cannot read over a deleted entry,
    throws away a pipeline's replies after an error about groups, and knows one time limit for all commands.
    """

    event_loops = frozenset({"asyncio", "trio"})

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts, *, private: int = _PRIVATE) -> None:
        self._endpoint = endpoint
        self._timeouts = timeouts
        self._lines = Lines(endpoint, timeouts)
        self._shared = SharedLine(self._lines, patience=timeouts.command)
        patience = timeouts.connect + timeouts.command
        self._reads = PrivateLines(self._lines, slots=private, patience=patience)
        self._batches = PrivateLines(self._lines, slots=private, patience=patience)

    async def call(self, *command: Argument, keys: Sequence[int] = (1,)) -> Reply:  # noqa: ARG002 -- one node has all keys
        """Run one command; cancelling the caller leaves its reply to be read and dropped.

        The time limit is on the server's silence: replies that come before this one may take longer.
        """
        words = encoded(command)
        connection = await self._shared.get()
        return self._reply(await self._answer(connection, *self._send(connection, [words])))

    async def batch(
        self,
        commands: Sequence[Command],
        *,
        keys: Sequence[int] = (1,),  # noqa: ARG002 -- one node has all keys
        timeout: float = 0.0,
    ) -> list[Reply | StreamsError]:
        """Run commands in one write, on a connection of their own; cancelling the caller leaves them to their end."""
        words = [encoded(command) for command in commands]
        limit = timeout + self._timeouts.command
        if not words:
            return []
        return await self._alone(self._batches, lambda connection: self._exchange(connection, words, limit))

    async def call_blocking(
        self,
        *command: Argument,
        keys: Sequence[int] = (1,),  # noqa: ARG002 -- one node has all keys
        timeout: float,
    ) -> Reply:
        """Run a command on a connection of its own; cancelling the caller leaves it to its end."""
        words = encoded(command)
        limit = timeout + self._timeouts.command
        (outcome,) = await self._alone(self._reads, lambda connection: self._exchange(connection, [words], limit))
        return self._reply(outcome)

    async def aclose(self) -> None:
        """Close every connection; what still waits for a reply ends with `Indeterminate`."""
        await self._lines.aclose()

    async def _answer(self, connection: Connection, reply: Awaited) -> object:
        # Everybody else's replies come first; only silence means that this one is not to be expected.
        seen = -1
        while seen != connection.statistics.bytes_read:
            seen = connection.statistics.bytes_read
            with anyio.move_on_after(self._timeouts.command):
                await reply.arrived()
                return reply.outcome
            await _read_what_has_come()
        self._shared.retire(connection)
        return TimeoutError(f"nothing came for {self._timeouts.command:g} seconds")

    async def _alone(self, lines: PrivateLines, talk: Callable[[Connection], Awaitable[TalkT]]) -> TalkT:
        line = await lines.take()
        return await spawn(partial(self._talk, lines, line, talk), name="coredis talk").result()

    async def _talk(self, lines: PrivateLines, line: Line, talk: Callable[[Connection], Awaitable[TalkT]]) -> TalkT:
        try:
            return await talk(await self._lines.opened(line))
        finally:
            lines.give_back(line)

    async def _exchange(
        self, connection: Connection, commands: Sequence[Sequence[bytes]], limit: float
    ) -> list[Reply | StreamsError]:
        replies = self._send(connection, commands)
        # Replies come in order: after the last one all are there, and the time limit is that of the whole batch.
        last = await self._last(connection, replies[-1], limit)
        outcomes = [self._outcome(reply.outcome if reply.complete else last) for reply in replies]
        if isinstance(outcomes[0], Indeterminate):
            raise outcomes[0]
        return outcomes

    async def _last(self, connection: Connection, reply: Awaited, limit: float) -> object:
        try:
            with anyio.move_on_after(limit):
                await reply.arrived()
        finally:
            if not reply.complete:
                connection.invalidate("it owes a reply")
        return reply.outcome if reply.complete else TimeoutError(f"nothing came for {limit:g} seconds")

    def _send(self, connection: Connection, commands: Sequence[Sequence[bytes]]) -> list[Awaited]:
        try:
            return connection.send(commands)
        except (raised.ConnectionError, BrokenResourceError, ClosedResourceError) as error:
            raise self._lines.not_sent(error) from error

    def _reply(self, answer: object) -> Reply:
        outcome = self._outcome(answer)
        if isinstance(outcome, StreamsError):
            raise outcome
        return outcome

    def _outcome(self, answer: object) -> Reply | StreamsError:
        if isinstance(answer, StreamsError):
            return answer
        return reply_failed(self._endpoint, answer) if isinstance(answer, BaseException) else cast(Reply, answer)


async def _read_what_has_come() -> None:
    # After the event loop was busy, time limits end before the sockets are read.
    for _ in range(_TURNS):
        await anyio.lowlevel.checkpoint()
