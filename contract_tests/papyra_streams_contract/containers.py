"""Servers in containers, through testcontainers."""

from collections.abc import Mapping

from testcontainers.core.container import DockerContainer

from papyra_streams.endpoint import Endpoint

from .servers import (
    LOCALHOST,
    NO_SETTINGS,
    PrivateServer,
    Server,
    ServerSource,
    answers,
    as_arguments,
    free_port,
    replication,
    usual_settings,
    wait_until,
)

_SERVER_PORT = 6379


class ServerContainer(PrivateServer):
    """A container, which keeps its volume until it is taken away."""

    def __init__(self, image: str, settings: Mapping[str, str], *, keeps_data: bool) -> None:
        endpoint = Endpoint(host=LOCALHOST, port=free_port())
        super().__init__(str(endpoint), endpoint)
        self.keeps_data = keeps_data
        # A port that the engine chooses would change with a restart.
        container = DockerContainer(image).with_bind_ports(_SERVER_PORT, endpoint.port)
        self._container = container.with_command(as_arguments({**usual_settings(keeps_data=keeps_data), **settings}))
        if not keeps_data:
            self._container.with_kwargs(tmpfs={"/data": ""})
        self._started = False

    @property
    def peer(self) -> tuple[str, int]:
        return self._container.get_wrapped_container().attrs["NetworkSettings"]["IPAddress"], _SERVER_PORT

    def launch(self) -> None:
        if self._started:
            self._container.get_wrapped_container().start()
        else:
            self._started = True
            self._container.start()

    def wait(self) -> None:
        wait_until(lambda: answers(self.endpoint), otherwise="no answer")

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def stop(self) -> None:
        self._container.stop()


class ContainerImage(ServerSource):
    """An image whose command is a server, such as ``redis:8`` or ``valkey/valkey:9``."""

    def __init__(self, image: str) -> None:
        self.name = image.rpartition("/")[2].replace(":", "-")
        self._image = image
        self._container: ServerContainer | None = None

    def shared(self) -> Server:
        if self._container is None:
            self._container = self.private()
        return self._container

    def private(
        self,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        replica_of: PrivateServer | None = None,
    ) -> ServerContainer:
        container = ServerContainer(self._image, {**replication(replica_of), **settings}, keeps_data=keeps_data)
        container.start()
        return container

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
