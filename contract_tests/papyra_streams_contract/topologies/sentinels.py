"""Servers that Sentinels watch: one with a replica and three Sentinels, and private ones with a Sentinel each."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..processes import ServerProcess
from ..servers import LOCALHOST, NO_SETTINGS, PrivateServer, replication, wait_until
from ..wire import ask_once
from .access import OPEN, Access
from .base import TopologySource

SERVICE = "papyra"
_SHARED_SENTINELS = 3
# Who kills a server wants it back where it was.
_NEVER = 3_600_000
_SOON = 5000


class SentinelProcess(ServerProcess):
    """A Sentinel."""

    def __init__(
        self, program: Path, primary: ServerProcess, *, quorum: int, down_after_ms: int, access: Access = OPEN
    ) -> None:
        super().__init__(program, endpoint=access.endpoint())
        self._access = access
        self._primary = primary
        self._quorum = quorum
        self._down_after_ms = down_after_ms

    def knows(self, *, replicas: int, sentinels: int) -> bool:
        """Tell whether it has found so many replicas of the primary, and so many Sentinels with itself."""
        address = self._primary.endpoint.address
        words = f"address={address},slaves={replicas},sentinels={sentinels}\r".encode()
        return words in ask_once(self.endpoint, "INFO sentinel")

    def _arguments(self) -> list[str]:
        # It writes into this file what it learns.
        if not self._file.exists():
            self._file.write_text("".join(f"{line}\n" for line in self._lines()))
        return [str(self._file), "--sentinel"]

    @property
    def _file(self) -> Path:
        return self._directory / "sentinel.conf"

    def _lines(self) -> list[str]:
        host, port = self._primary.peer
        password = self._access.password
        return [
            f"bind {LOCALHOST}",
            *(f"{name} {value}" for name, value in self._ports.items()),
            *(f"{name} {value}" for name, value in self._access.certificates.items()),
            f"dir {self._data}",
            f"sentinel monitor {SERVICE} {host} {port} {self._quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {self._down_after_ms}",
            *([f"requirepass {password}", f"sentinel auth-pass {SERVICE} {password}"] if password else []),
        ]


class WatchedServer(PrivateServer):
    """A primary, its replicas, and the Sentinels that watch them.

    The first start has to be that of the thread it lives as long as.

    :param down_after_ms: for how long a server may be silent until a Sentinel takes it for gone
    """

    rights = ("+role",)

    def __init__(
        self,
        program: Path,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        replicas: int = 0,
        sentinels: int = 1,
        down_after_ms: int = _NEVER,
        access: Access = OPEN,
    ) -> None:
        settings = {**access.settings, **settings}
        self.primary = ServerProcess(program, settings, keeps_data=keeps_data, endpoint=access.endpoint())
        following = {**settings, **replication(self.primary)}
        self.replicas = [
            ServerProcess(program, following, keeps_data=keeps_data, endpoint=access.endpoint())
            for _ in range(replicas)
        ]
        self.sentinels = [
            SentinelProcess(
                program, self.primary, quorum=sentinels // 2 + 1, down_after_ms=down_after_ms, access=access
            )
            for _ in range(sentinels)
        ]
        options = {"sentinel_password": access.password} if access.password else {}
        url = access.url("sentinel", [each.endpoint for each in self.sentinels], f"/{SERVICE}", **options)
        super().__init__(url, self.primary.endpoint)
        self.keeps_data = keeps_data
        self._is_watched = False

    def launch(self) -> None:
        self.primary.launch()
        if not self._is_watched:
            for replica in self.replicas:
                replica.launch()

    def wait(self) -> None:
        self.primary.wait()
        if not self._is_watched:
            self._set_up()
            self._is_watched = True

    def pause(self) -> None:
        self.primary.pause()

    def resume(self) -> None:
        self.primary.resume()

    def kill(self) -> None:
        self.primary.kill()

    def stop(self) -> None:
        for process in (self.primary, *self.replicas, *self.sentinels):
            process.stop()

    def _set_up(self) -> None:
        for replica in self.replicas:
            replica.wait()
        # A Sentinel asks the primary for its replicas at once, and then every ten seconds.
        wait_until(self._has_replicas, otherwise="the replicas have not joined")
        for sentinel in self.sentinels:
            sentinel.start()
        for sentinel in self.sentinels:
            wait_until(partial(self._is_known_to, sentinel), otherwise="the Sentinels have not met")

    def _has_replicas(self) -> bool:
        return ask_once(self.primary.endpoint, "INFO replication").count(b"state=online") == len(self.replicas)

    def _is_known_to(self, sentinel: SentinelProcess) -> bool:
        return sentinel.knows(replicas=len(self.replicas), sentinels=len(self.sentinels))


class SentinelSource(TopologySource):
    """Servers of a program, watched by Sentinels of the same program."""

    topology = "sentinel"
    example = "redis+sentinel://localhost/service"

    def _make_shared(self) -> WatchedServer:
        return WatchedServer(self.program, replicas=1, sentinels=_SHARED_SENTINELS, down_after_ms=_SOON)

    def _make(
        self, settings: Mapping[str, str], *, keeps_data: bool, replica_of: PrivateServer | None
    ) -> WatchedServer:
        return WatchedServer(self.program, {**replication(replica_of), **settings}, keeps_data=keeps_data)
