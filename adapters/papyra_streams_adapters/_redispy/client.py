"""Commands through the connections of redis-py or valkey-py.

The clients' own ``execute_command`` is passed by: whether a call failed while connecting or after sending decides
between `Unavailable` and `Indeterminate`, and up there both raise the same exceptions. It would also have to be
stripped of retries, reply callbacks and a timer (on Python 3.11 a task) per write. Commands are packed here, since the
clients' own packing takes twice as long, and they refuse what cannot be sent only when a connection is held for it.
"""

import asyncio
from collections.abc import Sequence

from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import Indeterminate, StreamsError
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._resp.client import Argument, Command, Reply, RespClient
from papyra_streams_adapters._resp.errors import lost
from papyra_streams_adapters._resp.packing import encoded, packed

from .connections import Connections, Line
from .library import Connection, Library

_COMMANDS_AT_ONCE = 32
_BLOCKED_AT_ONCE = 512


class FamilyClient(RespClient):
    """Runs each command on a connection of its own for as long as it takes."""

    def __init__(self, library: Library, endpoint: Endpoint, timeouts: Timeouts) -> None:
        self._errors = library.errors
        self._endpoint = endpoint
        self._patience = timeouts.command
        self._closed = False
        self._commands = Connections(library, endpoint, timeouts, limit=_COMMANDS_AT_ONCE)
        # What the server holds back would otherwise keep every other command waiting.
        self._blocked = Connections(library, endpoint, timeouts, limit=_BLOCKED_AT_ONCE)

    async def call(self, *command: Argument, keys: Sequence[int] = (1,)) -> Reply:  # noqa: ARG002 -- one node has all keys
        """Run one command on a connection that other commands share in turn."""
        return await self._run(self._commands, packed([encoded(command)]), self._patience)

    async def call_blocking(
        self,
        *command: Argument,
        keys: Sequence[int] = (1,),  # noqa: ARG002 -- one node has all keys
        timeout: float,
    ) -> Reply:
        """Run one command and wait for its reply for as long as the server may hold it, and a command's time more."""
        return await self._run(self._blocked, packed([encoded(command)]), timeout + self._patience)

    async def batch(
        self,
        commands: Sequence[Command],
        *,
        keys: Sequence[int] = (1,),  # noqa: ARG002 -- one node has all keys
        timeout: float = 0.0,
    ) -> list[Reply | StreamsError]:
        """Write all commands, then read all replies; one that is lost is `Indeterminate` in its place."""
        if not commands:
            return []
        data = packed(map(encoded, commands))
        connections = self._blocked if timeout else self._commands
        line = await connections.acquire()
        try:
            return await self._batch(line, data, len(commands), timeout + self._patience)
        finally:
            connections.release(line)

    async def aclose(self) -> None:
        """Close every connection; what is called from now on raises `Closed`."""
        self._closed = True
        await asyncio.gather(self._commands.aclose(), self._blocked.aclose())

    async def _run(self, connections: Connections, data: bytes, patience: float) -> Reply:
        line = await connections.acquire()
        try:
            with line.patience.lasting(patience):
                await line.connection.send_packed_command(data, check_health=False)
                return await line.connection.read_response()
        except Exception as error:
            failure = self._failure(error)
            if failure is None:
                raise
            raise failure from error
        finally:
            connections.release(line)

    async def _batch(self, line: Line, data: bytes, count: int, patience: float) -> list[Reply | StreamsError]:
        replies: list[Reply | StreamsError] = []
        try:
            await self._exchange(line, data, count, replies, patience)
        except BaseException as error:
            # Replies may still be on their way, and the connection's next user must not take them for its own.
            await line.connection.disconnect(nowait=True)
            failure = self._failure(error) if isinstance(error, Exception) else None
            if failure is None:
                raise
            if not replies:
                raise failure from error
            failure.__cause__ = error
            replies += [failure] * (count - len(replies))
        return replies

    async def _exchange(
        self, line: Line, data: bytes, count: int, replies: list[Reply | StreamsError], patience: float
    ) -> None:
        with line.patience.lasting(patience):
            await line.connection.send_packed_command(data, check_health=False)
            for _ in range(count):
                replies.append(await self._reply(line.connection))  # noqa: PERF401 -- those before one that is lost are kept

    async def _reply(self, connection: Connection) -> Reply | StreamsError:
        try:
            return await connection.read_response(disconnect_on_error=False)
        except self._errors.answers as error:
            answer = self._errors.answer(error, self._endpoint)
            if answer is None:
                raise
            answer.__cause__ = error
            return answer

    def _failure(self, error: Exception) -> StreamsError | None:
        failure = self._errors.exchanging(error, self._endpoint)
        if self._closed and isinstance(failure, Indeterminate):
            return lost(self._endpoint, "the driver was closed during the call")
        return failure
