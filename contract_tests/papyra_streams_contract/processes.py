"""Server programs as child processes, which end with the tests."""

import ctypes
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from papyra_streams.endpoint import Endpoint

from .servers import (
    LOCALHOST,
    NO_SETTINGS,
    PrivateServer,
    ServerFailed,
    answers,
    as_arguments,
    free_port,
    usual_settings,
    wait_until,
)

_PR_SET_PDEATHSIG = 1
_SHOWN = 2000


class ServerProcess(PrivateServer):
    """A server program, run as a child process.

    :param endpoint: where it is to listen, and as whom raw connections come
    :param url: as what the driver is to come, if it is somebody else
    :param settings: as in the server's configuration file
    :param keeps_data: sync every write to an append-only file, which the next start reads
    """

    def __init__(
        self,
        program: Path,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        keeps_data: bool = False,
        endpoint: Endpoint | None = None,
        url: str | None = None,
    ) -> None:
        here = Endpoint(host=LOCALHOST, port=free_port()) if endpoint is None else endpoint
        super().__init__(str(here) if url is None else url, here)
        self.keeps_data = keeps_data
        self._settings = {**usual_settings(keeps_data=keeps_data), **settings}
        self._program = program
        self._directory = Path(tempfile.mkdtemp(prefix="papyra-streams-contract-"))
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        if not self.keeps_data:
            shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(exist_ok=True)
        self._process = start_child([str(self._program), *self._arguments()], self._directory, self._log)

    def wait(self) -> None:
        try:
            wait_until(lambda: answers(self.endpoint), otherwise="no answer", lives=self._lives)
        except ServerFailed as error:
            said = self._log.read_text(errors="replace")[-_SHOWN:]
            self.stop()
            raise ServerFailed(f"{self._program} did not start: {error} It said:\n{said}") from error

    def pause(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        process, self._process = self._running(), None
        process.kill()
        process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _lives(self) -> bool:
        return self._running().poll() is None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server is not running"
        return self._process

    def _arguments(self) -> list[str]:
        return as_arguments({"bind": LOCALHOST, **self._ports, "dir": str(self._data), **self._settings})

    @property
    def _ports(self) -> dict[str, str]:
        port = str(self.endpoint.port)
        return {"port": "0", "tls-port": port} if self.endpoint.tls else {"port": port}


def start_child(command: list[str], directory: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one.

    :param log: what it says is added there
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Cleaning up is not possible after SIGKILL, nor after SIGTERM as Python handles it.
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no thread forks here
        )


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
