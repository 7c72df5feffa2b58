"""Commands through coredis 6.9."""

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar, Protocol, TypeVar, cast

import anyio
import anyio.lowlevel
from anyio import BrokenResourceError, ClosedResourceError
from coredis import exceptions as raised
from coredis.connection import BaseConnection

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Indeterminate, InvalidValue, StreamsError
from papyra_streams.ports import Timeouts

from .._resp.client import Argument, Command, Reply, RespClient
from .._resp.tasks import spawn
from ._errors import reply_failed
from ._line import Line
from ._lines import Lines, PrivateLines, SharedLine

TalkT = TypeVar("TalkT")

# One for each blocking read and each batch that runs at the same time.
_PRIVATE = 256
# How many turns of the event loop lie, with some to spare, between bytes at the socket and coredis's counting them.
_TURNS = 10


class _Pending(Awaitable[object], Protocol):
    """A reply that is awaited; coredis gives its errors as values."""

    @property
    def complete(self) -> bool: ...


class CoredisClient(RespClient):
    """Speaks through coredis's connections, one for all commands and one more for each blocking read or batch.

    coredis 6.9's own client is passed by: it compares Valkey's version with Redis's, cannot read over a deleted entry,
    throws away a pipeline's replies after an error about groups, and knows one time limit for all commands.
    """

    event_loops: ClassVar[frozenset[str]] = frozenset({"asyncio", "trio"})

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts, *, private: int = _PRIVATE) -> None:
        self._endpoint = endpoint
        self._timeouts = timeouts
        self._lines = Lines(endpoint, timeouts)
        self._shared = SharedLine(self._lines, grace=timeouts.command)
        self._private = PrivateLines(self._lines, slots=private, patience=timeouts.connect + timeouts.command)

    async def call(self, *command: Argument, keys: Sequence[int] = (1,)) -> Reply:  # noqa: ARG002 -- one node has all keys
        """Run one command; cancelling the caller leaves its reply to be read and dropped."""
        words = _encoded(command)
        connection = await self._shared.get()
        return self._reply(await self._answer(connection, self._send(connection, words, limit=math.inf)))

    async def batch(self, commands: Sequence[Command]) -> list[Reply | StreamsError]:
        """Run commands in one write, on a connection of their own; cancelling the caller leaves them to their end."""
        encoded = [_encoded(command) for command in commands]
        return await self._alone(lambda connection: self._exchange(connection, encoded)) if encoded else []

    async def call_blocking(
        self,
        *command: Argument,
        keys: Sequence[int] = (1,),  # noqa: ARG002 -- one node has all keys
        timeout: float,
    ) -> Reply:
        """Run a command on a connection of its own; cancelling the caller leaves it to its end."""
        words = _encoded(command)
        limit = timeout + self._timeouts.command
        return await self._alone(lambda connection: self._read(connection, words, limit))

    async def aclose(self) -> None:
        """Close every connection; what still waits for a reply ends with `Indeterminate`."""
        await self._lines.aclose()

    async def _answer(self, connection: BaseConnection, pending: _Pending) -> object:
        # Everybody else's replies come first; only silence means that this one is not to be expected.
        seen = -1
        while seen != connection.statistics.bytes_read:
            seen = connection.statistics.bytes_read
            with anyio.move_on_after(self._timeouts.command):
                return await pending
            await _read_what_has_come()
        self._shared.retire(connection)
        return TimeoutError(f"nothing came for {self._timeouts.command:g} seconds")

    async def _alone(self, talk: Callable[[BaseConnection], Awaitable[TalkT]]) -> TalkT:
        line = await self._private.take()
        return await spawn(partial(self._talk, line, talk), name="coredis talk").result()

    async def _talk(self, line: Line, talk: Callable[[BaseConnection], Awaitable[TalkT]]) -> TalkT:
        try:
            return await talk(await self._lines.opened(line))
        finally:
            self._private.give_back(line)

    async def _exchange(
        self, connection: BaseConnection, commands: Sequence[tuple[bytes, ...]]
    ) -> list[Reply | StreamsError]:
        pending = [self._send(connection, words, limit=self._timeouts.command, alone=True) for words in commands]
        # Replies come in order: after the last one all are there, and the time limit is that of the whole batch.
        last = await pending[-1]
        outcomes = [self._outcome(await reply if reply.complete else last) for reply in pending]
        if isinstance(outcomes[0], Indeterminate):
            raise outcomes[0]
        return outcomes

    async def _read(self, connection: BaseConnection, words: tuple[bytes, ...], limit: float) -> Reply:
        return self._reply(await self._send(connection, words, limit=limit, alone=True))

    def _send(
        self, connection: BaseConnection, words: tuple[bytes, ...], *, limit: float, alone: bool = False
    ) -> _Pending:
        try:
            return connection.create_request(
                *words, decode=False, raise_exceptions=False, timeout=limit, disconnect_on_cancellation=alone
            )
        except (raised.ConnectionError, BrokenResourceError, ClosedResourceError) as error:
            raise self._lines.not_sent(error) from error

    def _reply(self, answer: object) -> Reply:
        outcome = self._outcome(answer)
        if isinstance(outcome, StreamsError):
            raise outcome
        return outcome

    def _outcome(self, answer: object) -> Reply | StreamsError:
        return reply_failed(self._endpoint, answer) if isinstance(answer, BaseException) else cast(Reply, answer)


async def _read_what_has_come() -> None:
    # After the event loop was busy, time limits end before the sockets are read.
    for _ in range(_TURNS):
        await anyio.lowlevel.checkpoint()


def _encoded(command: Command) -> tuple[bytes, ...]:
    # What coredis 6.9 cannot encode ends the connection, and with it the commands of everybody else.
    return tuple(_word(argument) for argument in command)


def _word(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, int):
        return b"%d" % argument
    if not isinstance(argument, str):
        raise InvalidValue(f"A command is made of bytes, text and integers, not of {type(argument).__name__}.")
    try:
        return argument.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue("A command's text has a lone surrogate.") from error
