"""Servers in containers, through testcontainers."""

from collections.abc import Mapping

from testcontainers.core.container import DockerContainer

from .servers import NO_SETTINGS, PrivateServer, Server, ServerSource, as_arguments, wait_until_it_answers

_SERVER_PORT = 6379


class ServerContainer(PrivateServer):
    """A container, which keeps its volume until it is taken away."""

    def __init__(self, image: str, settings: Mapping[str, str], *, keeps_data: bool) -> None:
        super().__init__(settings, keeps_data=keeps_data)
        # A port that the engine chooses would change with a restart.
        container = DockerContainer(image).with_bind_ports(_SERVER_PORT, self.endpoint.port)
        self._container = container.with_command(as_arguments(self._settings))
        if not keeps_data:
            self._container.with_kwargs(tmpfs={"/data": ""})
        self._started = False

    @property
    def peer(self) -> tuple[str, int]:
        return self._container.get_wrapped_container().attrs["NetworkSettings"]["IPAddress"], _SERVER_PORT

    def start(self) -> None:
        if self._started:
            self._container.get_wrapped_container().start()
        else:
            self._started = True
            self._container.start()
        wait_until_it_answers(self.endpoint, lives=lambda: True)

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
        return Server(name=self.name, url=str(self._container.endpoint))

    def private(self, settings: Mapping[str, str] = NO_SETTINGS, *, keeps_data: bool = False) -> ServerContainer:
        container = ServerContainer(self._image, settings, keeps_data=keeps_data)
        container.start()
        return container

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
