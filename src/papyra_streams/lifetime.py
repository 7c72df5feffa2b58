"""When a backend opens and closes: on first use, once per event loop; and with `aclose()`, or with the event loop."""

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

import anyio
import anyio.to_thread
import sniffio
from anyio.lowlevel import RunVar

from . import drivers
from .composition import Services
from .endpoint import EmbeddedDirectory, Server
from .errors import Closed, StreamsError, UnsupportedOperation
from .ports import ServerLease, StreamStore

# How long closing may wait for the connections: a server that is away must not keep a process from ending.
_DISCONNECT_TIMEOUT = 5.0


class _Loop:
    """What a backend has open in one event loop."""

    def __init__(self) -> None:
        self.opening = anyio.Lock()
        self.callers_waiting = 0
        self.services: Services | None = None
        self.closing: AsyncGenerator[None, None] | None = None


class Lifetime:
    """Gives out the services for the running event loop, and closes them."""

    def __init__(
        self, target: Server | EmbeddedDirectory, compose: Callable[[Server], Services], *, closes_store: bool
    ) -> None:
        self._target = target
        self._compose = compose
        self._closes_store = closes_store
        self._loops: RunVar[_Loop] = RunVar("papyra_streams")
        self._lease: ServerLease | None = None
        self.closed = False

    async def services(self) -> Services:
        """Return the running event loop's services, opening them on first use.

        :raises Closed: after `aclose`
        :raises UnsupportedOperation: if the driver does not run on this event loop
        """
        self._refuse_if_closed()
        loop = self._loop()
        if loop.services and not loop.callers_waiting:
            return loop.services
        # Whoever comes while others still wait for the opening waits behind them: records keep the order of the calls.
        loop.callers_waiting += 1
        try:
            async with loop.opening:
                return loop.services or await self._open(loop)
        finally:
            loop.callers_waiting -= 1

    async def rejoin_server(self) -> None:
        """Start an embedded server again that went away; its data are in its directory."""
        if self._lease and isinstance(self._target, EmbeddedDirectory) and self._target.path is not None:
            with suppress(StreamsError):
                await self._join_server(self._target)

    async def aclose(self) -> None:
        """Store what is under way, then close what the running event loop has open; in bounded time.

        A call that comes while another one closes waits for it. One that is cancelled no longer waits for the server.
        """
        self.closed = True
        loop = self._loop()
        with anyio.CancelScope(shield=True):
            await loop.opening.acquire()
        try:
            if loop.closing:
                await loop.closing.aclose()
        finally:
            self._hold_lease(None)
            loop.opening.release()

    def _loop(self) -> _Loop:
        loop = self._loops.get(None)
        if loop is None:
            loop = _Loop()
            self._loops.set(loop)
        return loop

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise Closed("The backend is closed; build a new one to go on.")

    async def _open(self, loop: _Loop) -> Services:
        self._refuse_if_closed()
        services = self._compose(await self._server())
        _check_event_loop(services.store)
        closing = _hold(services, closes_store=self._closes_store)
        await anext(closing)
        try:
            await services.journal.open()
        except BaseException:
            await closing.aclose()
            raise
        loop.closing, loop.services = closing, services
        return services

    async def _server(self) -> Server:
        if not isinstance(self._target, EmbeddedDirectory):
            return self._target
        lease = self._lease or await self._join_server(self._target)
        return lease.endpoint

    async def _join_server(self, directory: EmbeddedDirectory) -> ServerLease:
        # A start that is abandoned ends by itself, and the lease that nobody takes lets go of the server.
        lease = await anyio.to_thread.run_sync(drivers.embedded_servers().acquire, directory, abandon_on_cancel=True)
        if self.closed:
            lease.release()
        self._refuse_if_closed()
        self._hold_lease(lease)
        return lease

    def _hold_lease(self, lease: ServerLease | None) -> None:
        former, self._lease = self._lease, lease
        if former:
            former.release()


async def _hold(services: Services, *, closes_store: bool) -> AsyncGenerator[None, None]:
    """Close the services when this generator is closed, which asyncio and trio also do when their event loop ends."""
    try:
        yield
    finally:
        try:
            await services.journal.close()
        finally:
            if closes_store:
                with anyio.move_on_after(_DISCONNECT_TIMEOUT, shield=True):
                    await services.store.aclose()


def _check_event_loop(store: StreamStore) -> None:
    running = sniffio.current_async_library()
    if running not in store.event_loops:
        raise UnsupportedOperation(
            f"This driver runs on {', '.join(sorted(store.event_loops))}, not on {running};"
            " choose driver='coredis', which runs on both."
        )
