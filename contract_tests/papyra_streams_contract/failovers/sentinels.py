"""A primary, its replicas, and three Sentinels that know soon when it is gone."""

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.servers import NO_SETTINGS, ServerFailed
from papyra_streams_contract.topologies.access import OPEN, Access
from papyra_streams_contract.topologies.sentinels import SERVICE, SentinelProcess, WatchedServer
from papyra_streams_contract.wire import Reply, Wire, ask_once

from .deployments import SETTINGS, Deployment, replicas_online

_SENTINELS = 3
# They ask once a second: with less, they would take a new primary for gone before they have heard of it.
_DOWN_AFTER_MS = 1500
_FAILOVER_TIMEOUT_MS = 3000


class WatchedReplicas(Deployment):
    """Replicas of which one becomes the primary when the Sentinels say so."""

    def __init__(
        self,
        program: Path,
        *,
        replicas: int = 1,
        keeps_data: bool = False,
        settings: Mapping[str, str] = NO_SETTINGS,
        access: Access = OPEN,
    ) -> None:
        self._watched = WatchedServer(
            program,
            {**SETTINGS, **settings},
            keeps_data=keeps_data,
            replicas=replicas,
            sentinels=_SENTINELS,
            down_after_ms=_DOWN_AFTER_MS,
            access=access,
        )
        super().__init__(self._watched, [self._watched.primary, *self._watched.replicas])

    async def start(self) -> None:
        self._watched.start()
        for sentinel in self._watched.sentinels:
            # Twice as long they wait where they could not agree.
            _order(sentinel, f"SENTINEL SET {SERVICE} failover-timeout {_FAILOVER_TIMEOUT_MS}")
        await self.in_step()

    def find_primary(self, key: str) -> ServerProcess | None:  # noqa: ARG002 -- it serves all
        named = {self._named_by(sentinel) for sentinel in self._watched.sentinels}
        found = [member for member in self.present if {member.endpoint.address.encode()} == named]
        return found[0] if found and b"role:master" in ask_once(found[0].endpoint, "INFO replication") else None

    def _named_by(self, sentinel: SentinelProcess) -> bytes:
        _, _, rest = ask_once(sentinel.endpoint, "INFO sentinel").partition(b"address=")
        return rest.partition(b",")[0]

    def follow(self, member: ServerProcess, key: str) -> None:
        # The Sentinels do it too, but take their time.
        _order(member, "REPLICAOF {} {}".format(*self.primary(key).peer))

    async def _is_in_step(self) -> bool:
        primary = self.find_primary("")
        replicas = len(self._watched.replicas)
        if primary is None or replicas_online(primary) != replicas:
            return False
        for sentinel in self._watched.sentinels:
            flags = await _flags_of_replicas(sentinel)
            if flags != [b"slave"] * replicas:
                return False
        return True


def _order(server: ServerProcess, command: str) -> None:
    reply = ask_once(server.endpoint, command)
    if not reply.startswith(b"+OK"):
        raise ServerFailed(f"{command}: {reply.decode(errors='replace')}")


async def _flags_of_replicas(sentinel: SentinelProcess) -> list[Reply]:
    async with aclosing(Wire(sentinel.endpoint)) as wire:
        rows = await wire.rows("SENTINEL", "REPLICAS", SERVICE)
    return [row[row.index(b"flags") + 1] for row in rows if isinstance(row, list)]
