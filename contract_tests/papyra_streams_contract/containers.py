"""Servers in containers, through testcontainers."""

from testcontainers.core.container import DockerContainer

from .servers import PrivateServer, Server, ServerSource, wait_until_it_answers

_SERVER_PORT = 6379


class ServerContainer(PrivateServer):
    """A container that keeps nothing when it ends."""

    def __init__(self, image: str) -> None:
        super().__init__()
        # A port that the engine chooses would change with a restart.
        self._container = DockerContainer(image).with_bind_ports(_SERVER_PORT, self.endpoint.port)
        self._started = False

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

    def private(self) -> ServerContainer:
        container = ServerContainer(self._image)
        container.start()
        return container

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
