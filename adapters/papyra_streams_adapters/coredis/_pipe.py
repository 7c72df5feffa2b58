"""A connection's bytes on asyncio, without the tasks that anyio and coredis 6.9 put between them and a command."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import cast

import anyio
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import ByteStream


class Pipe(ByteStream, asyncio.Protocol):
    """Hands over what arrives at once, in the event loop's turn in which it arrives; writes at once, too."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._lost = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._transport is None or self._transport.is_closing()

    def keep_alive(self, options: Mapping[int, int | bytes]) -> None:
        """Let TCP ask now and then whether the other side is still there, with these options of its own."""
        if self._transport is None:
            return
        below = self._transport.get_extra_info("socket")
        below.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in options.items():
            below.setsockopt(socket.IPPROTO_TCP, option, value)

    def write(self, data: bytes) -> None:
        """Write, as far as the system takes it; the rest follows by itself.

        :raises ClosedResourceError: if nothing was written
        """
        if self._transport is None or self._transport.is_closing():
            raise ClosedResourceError
        self._transport.write(data)

    # -- as a stream

    async def receive(self, max_bytes: int = 65536) -> bytes:  # noqa: ARG002 -- what arrives is handed over elsewhere
        """Wait until the connection ends, and raise why."""
        await self._lost.wait()
        if self._error is None:
            raise EndOfStream
        raise BrokenResourceError from self._error

    async def send(self, item: bytes) -> None:
        """Write, and wait while much is yet to be taken by the system."""
        self.write(item)
        await self._writable.wait()

    async def send_eof(self) -> None:
        """Say that nothing more will be written."""
        if self._transport is not None:
            self._transport.write_eof()

    async def aclose(self) -> None:
        """Close the connection at once, whatever is yet to be written."""
        if self._transport is None:
            return
        self._transport.abort()
        with anyio.CancelScope(shield=True):
            await self._lost.wait()

    # -- as a protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand over what arrived; what cannot be understood ends the connection."""
        try:
            self._take(data)
        except Exception as error:  # noqa: BLE001 -- raised by receive
            self._error = error
            if self._transport is not None:
                self._transport.abort()

    def pause_writing(self) -> None:
        """Let `send` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._error = self._error or exc
        self._writable.set()
        self._lost.set()
