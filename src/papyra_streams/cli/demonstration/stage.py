"""Where the demo plays: a server, and a prefix that nobody else uses."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote
from uuid import uuid4

import anyio
import anyio.to_thread
from papyra.persistence.backends.retention import RetentionPolicy

from papyra_streams import drivers
from papyra_streams.config import RedisStreamsConfig
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS, KINDS
from papyra_streams.domain.partitions import Partition
from papyra_streams.endpoint import EmbeddedDirectory, Endpoint
from papyra_streams.errors import ConfigurationError, Rejected
from papyra_streams.persistence import RedisStreamsPersistence

from .wire import Wire, connect

# Connecting is tried several times, and somebody is watching.
_CONNECT_SECONDS = 2.0
SUBSCRIBED = "insurance"
"""The group whose workers have a subscription, which keeps keys of its own beside the stream."""

# The server may be somebody's, and hold many millions of keys that are not ours.
_SEARCH_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A server that answers, and the settings that lead there."""

    endpoint: Endpoint
    settings: RedisStreamsConfig

    @property
    def keys(self) -> Keyspace:
        """The names of the demo's keys."""
        return self.settings.keyspace()

    @asynccontextmanager
    async def backend(self, policy: RetentionPolicy | None = None) -> AsyncIterator[RedisStreamsPersistence]:
        """Open a backend, and close it in the end."""
        backend = RedisStreamsPersistence(self.settings, retention_policy=policy)
        try:
            yield backend
        finally:
            await backend.aclose()

    async def server(self) -> str:
        """Name the server program and its version, as far as the server tells."""
        async with connect(self.endpoint) as wire:
            try:
                reply = await wire("INFO", "server")
            except Rejected:
                return "a server that does not tell its version"
        facts = dict(_facts(reply if isinstance(reply, bytes) else b""))
        # Valkey gives a redis_version as well, for the sake of old clients.
        program = "Valkey" if "valkey_version" in facts else "Redis"
        return f"{program} {facts.get(f'{program.lower()}_version', 'of unknown version')}"

    async def remove_keys(self) -> int | None:
        """Remove the demo's keys; return how many there were, or None if some short-lived ones could not be found."""
        names = [
            name
            for kind in KINDS
            for name in (self.keys.stream(Partition(kind)), self.keys.quarantine(Partition(kind)))
        ]
        names += [self.keys.group(Partition(EVENTS), part, SUBSCRIBED) for part in ("state", "pause", "leader")]
        async with connect(self.endpoint) as wire:
            removed = await _unlink(wire, [name.encode() for name in names])
            with anyio.move_on_after(_SEARCH_SECONDS):
                return removed + await _unlink(wire, await self._search(wire))
        return None

    async def remaining_keys(self) -> int:
        """Count the demo's keys on the server."""
        async with connect(self.endpoint) as wire:
            return len(await self._search(wire))

    async def _search(self, wire: Wire) -> list[bytes]:
        found: list[bytes] = []
        cursor = b"0"
        while True:
            reply = await wire("SCAN", cursor, "MATCH", f"{self.settings.prefix}:*", "COUNT", 1000)
            match reply:
                case [bytes(cursor), [*names]]:
                    found += [name for name in names if isinstance(name, bytes)]
            if cursor == b"0":
                return found


@asynccontextmanager
async def staged(url: str, driver: str | None) -> AsyncIterator[Stage]:
    """Choose a prefix, and start a server if the URL asks for one.

    :raises ConfigurationError: if the URL or the driver cannot be used
    """
    prefix = f"demo-{uuid4().hex[:12]}"
    settings = RedisStreamsConfig(url=url, prefix=prefix, approx_trim=False, connect_timeout=_CONNECT_SECONDS)
    if driver is not None:
        settings = replace(settings, driver=driver)
    drivers.load(settings.driver)
    target = settings.target()
    if isinstance(target, Endpoint):
        yield Stage(endpoint=target, settings=settings)
        return
    if not isinstance(target, EmbeddedDirectory):
        raise ConfigurationError("The demo plays on one server, which it also looks at from outside; give redis://.")
    async with _lent(target) as endpoint:
        # The workers join the same server, which a bare embedded:// would not let them do.
        joined = replace(settings, url=f"unix://{quote(endpoint.path)}")
        yield Stage(endpoint=endpoint, settings=joined)


@asynccontextmanager
async def _lent(directory: EmbeddedDirectory) -> AsyncIterator[Endpoint]:
    lease = await anyio.to_thread.run_sync(drivers.embedded_servers().acquire, directory)
    try:
        yield lease.endpoint
    finally:
        lease.release()


async def _unlink(wire: Wire, names: list[bytes]) -> int:
    removed = 0
    # One by one, since on a cluster they may not share a slot.
    for name in names:
        reply = await wire("UNLINK", name)
        removed += reply if isinstance(reply, int) else 0
    return removed


def _facts(reply: bytes) -> Iterator[tuple[str, str]]:
    for line in reply.decode(errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name, value
