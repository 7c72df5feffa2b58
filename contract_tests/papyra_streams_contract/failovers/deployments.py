"""What tests do with servers of which another one takes over when one fails."""

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from papyra_streams.endpoint import Endpoint
from papyra_streams_contract.arranging import eventually
from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.servers import PrivateServer
from papyra_streams_contract.wire import WireError, ask_once

# Elections may have to be repeated.
PATIENCE_SECONDS = 40.0
# Primaries write to their replicas at least each second, so that it is seen that these read.
SETTINGS = {"repl-ping-replica-period": "1"}

_WRITTEN = re.compile(rb"master_repl_offset:(\d+)")
_ACKNOWLEDGED = re.compile(rb"state=online,offset=(\d+)")


class Deployment(ABC):
    """Primaries and their replicas.

    ``server`` -- what a driver is given
    """

    def __init__(self, server: PrivateServer, members: Sequence[ServerProcess]) -> None:
        """Make it of servers that hold data, the ``members``, which are yet to be started."""
        self.server = server
        self._members = members
        self._absent: set[ServerProcess] = set()

    @abstractmethod
    async def start(self) -> None:
        """Start it; return once a failover would succeed."""

    def stop(self) -> None:
        """Take it away with all it left."""
        for member in self._members:
            member.stop()
        self.server.stop()

    @property
    def url(self) -> str:
        """What a user would write."""
        return self.server.url

    @property
    def present(self) -> list[ServerProcess]:
        """The members that run."""
        return [member for member in self._members if member not in self._absent]

    @abstractmethod
    def find_primary(self, key: str) -> ServerProcess | None:
        """Return the member that runs and serves a key; None while nobody does.

        :raises OSError: if one that is asked cannot be reached
        """

    def primary(self, key: str) -> ServerProcess:
        """Return the member that serves a key, where nothing is wrong."""
        found = self.find_primary(key)
        assert found is not None, f"nobody serves {key}"
        return found

    def replicas(self, primary: ServerProcess) -> list[ServerProcess]:
        """Return the members that follow a primary."""
        said = ask_once(primary.endpoint, "INFO replication")
        return [each for each in self.present if b"port=%d,state=online" % each.endpoint.port in said]

    def endpoint(self, key: str) -> Endpoint:
        """Return where a key is, for raw connections."""
        return self.primary(key).endpoint

    def kill(self, member: ServerProcess) -> None:
        """End a member at once."""
        self._absent.add(member)
        member.kill()

    def pause(self, member: ServerProcess) -> None:
        """Stop a member from running."""
        self._absent.add(member)
        member.pause()

    def resume(self, member: ServerProcess) -> None:
        """Let a member run on, as what it took itself for."""
        member.resume()
        self._absent.discard(member)

    async def restart(self, member: ServerProcess, key: str) -> None:
        """Start a member that was killed, to follow the one that serves a key now."""
        # In a cluster of Redis, a replica that finds it again before it hears of another primary stays with it.
        await eventually(partial(self._has_no_followers, member), within=PATIENCE_SECONDS)
        member.start()
        self.follow(member, key)
        self._absent.discard(member)

    @abstractmethod
    def follow(self, member: ServerProcess, key: str) -> None:
        """Have a member follow the one that serves a key, where it does not do so soon by itself."""

    async def _has_no_followers(self, former: ServerProcess) -> bool:
        said = (ask_once(each.endpoint, "INFO replication") for each in self.present)
        return not any(b"master_port:%d\r" % former.endpoint.port in each for each in said)

    async def taken_over(self, key: str, former: ServerProcess) -> ServerProcess:
        """Wait until another member serves a key, and return it."""
        found: list[ServerProcess] = []

        async def has_been() -> bool:
            with suppress(OSError):
                primary = self.find_primary(key)
                found.extend([primary] if primary and primary is not former else [])
            return bool(found)

        await eventually(has_been, within=PATIENCE_SECONDS)
        return found[0]

    async def in_step(self) -> None:
        """Wait until every member runs, and every replica has what its primary has."""
        await self._until(self._is_in_step)
        written = {member: _offsets(member)[0] + 1 for member in self.present}

        # A replica that is called online need not have been sent anything yet.
        async def have_all() -> bool:
            return all(acknowledged >= written[each] for each in written for acknowledged in _offsets(each)[1])

        await self._until(have_all)

    async def _until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async def held() -> bool:
            with suppress(OSError, EOFError, WireError):
                return not self._absent and await holds()
            return False

        await eventually(held, within=PATIENCE_SECONDS)

    @abstractmethod
    async def _is_in_step(self) -> bool:
        """Tell whether all know each other, and the next failover would succeed."""


def replicas_online(primary: ServerProcess) -> int:
    """Return how many replicas follow a primary."""
    said = ask_once(primary.endpoint, "INFO replication")
    return said.count(b"state=online") if b"role:master" in said else 0


def _offsets(primary: ServerProcess) -> tuple[int, list[int]]:
    """Return how far a primary has written, and how far each of its replicas says it has read."""
    said = ask_once(primary.endpoint, "INFO replication")
    (written,) = _WRITTEN.findall(said)
    return int(written), [int(acknowledged) for acknowledged in _ACKNOWLEDGED.findall(said)]
