"""A server that the demo may kill."""

import os
import signal
from contextlib import suppress

import anyio
import anyio.to_thread

from papyra_streams import drivers
from papyra_streams.endpoint import EmbeddedDirectory, Endpoint
from papyra_streams.errors import StreamsError
from papyra_streams.ports import ServerLease

from .wire import connect


class PrivateServer:
    """An embedded server that nobody else uses, and that keeps its data in a directory."""

    def __init__(self, path: str) -> None:
        self._directory = EmbeddedDirectory(path=path)
        self._leases: list[ServerLease] = []

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens, also after it was started again."""
        return self._leases[-1].endpoint

    async def start(self) -> None:
        """Start it on the data it has, and let it sync each write to disk before it answers.

        :raises ConfigurationError: if no server program is installed
        """
        self._leases.append(await anyio.to_thread.run_sync(drivers.embedded_servers().acquire, self._directory))
        async with connect(self.endpoint) as wire:
            await wire("CONFIG", "SET", "appendfsync", "always")

    async def kill(self) -> None:
        """End its process without a chance to tidy up."""
        async with connect(self.endpoint) as wire:
            reply = await wire("INFO", "server")
        facts = reply.decode() if isinstance(reply, bytes) else ""
        os.kill(int(facts.partition("process_id:")[2].split()[0]), signal.SIGKILL)

    async def answers(self) -> bool:
        """Tell whether it can be reached."""
        with suppress(StreamsError):
            async with connect(self.endpoint) as wire:
                return await wire("PING") == b"PONG"
        return False

    def release(self) -> None:
        """Let it stop."""
        for lease in self._leases:
            lease.release()
