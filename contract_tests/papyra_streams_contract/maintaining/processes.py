"""The client processes, as the test sees them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from .orders import Orders
from .parent import LONGEST_MESSAGE

_PATIENCE_SECONDS = 20.0
_SHOWN = 3000


class Client:
    """A process with an operation in it; it tells when it has ``begun`` and, if so, was ``done`` with that."""

    def __init__(self, process_id: int, control: socket.socket, log: Path) -> None:
        self.begun = 0
        self.done: int | None = None
        self._process_id = process_id
        self._control = control
        self._heard = b""
        self._has_ended = False
        self._log = log

    async def ready(self) -> None:
        """Wait until it is connected."""
        await self._hear(b"ready")

    async def begin(self) -> None:
        """Send it to work, and return once it is."""
        self._control.send(b"\n")
        _, self.begun = await self._hear(b"begun")

    async def end(self, *, may_give_up: bool) -> None:
        """Wait until it is done, or has given the server up, and has closed its backend."""
        word, moment = await self._hear(b"done", b"away")
        assert word == b"done" or may_give_up, self.log
        self.done = moment if word == b"done" else None
        await self._hear(b"closed")

    async def kill(self) -> None:
        """End it at once, and learn whether it was done before."""
        # As long as this end of its socket is open, it does not end by itself, unless it fails.
        if not self._has_ended:
            os.kill(self._process_id, signal.SIGKILL)
        while line := await self._line():
            word, _, moment = line.partition(b" ")
            if word == b"done":
                self.done = int(moment)
        self._control.close()

    @property
    def log(self) -> str:
        """The end of what the clients logged."""
        return self._log.read_text(errors="replace")[-_SHOWN:]

    async def _hear(self, *words: bytes) -> tuple[bytes, int]:
        said = await self._line()
        word, _, moment = said.partition(b" ")
        assert word in words, f"{said!r} instead of {words}: {self.log}"
        return word, int(moment)

    async def _line(self) -> bytes:
        """Return what it says next; nothing once it has ended."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._listen()
        except TimeoutError as error:
            error.add_note(f"a client says nothing: {self.log}")
            raise
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while b"\n" not in self._heard and not self._has_ended:
            more = await loop.sock_recv(self._control, LONGEST_MESSAGE)
            self._heard += more
            self._has_ended = not more


class Clients:
    """Starts clients, and ends those that are left."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "clients.log"
        self._started: list[Client] = []
        self._requests, theirs = socket.socketpair()
        command = [sys.executable, "-m", f"{__package__}.parent"]
        with theirs, self._log.open("ab") as log:
            self._parent = subprocess.Popen(command, stdin=theirs.fileno(), stdout=log, stderr=log)

    def start(self, orders: Orders) -> Client:
        """Start one; it makes itself ready in its own time."""
        control, theirs = socket.socketpair()
        control.settimeout(0)
        with theirs:
            socket.send_fds(self._requests, [json.dumps(asdict(orders)).encode()], [theirs.fileno()])
            process_id = int(self._requests.recv(LONGEST_MESSAGE))
        self._started.append(Client(process_id, control, self._log))
        return self._started[-1]

    async def end(self) -> None:
        """End all of them."""
        while self._started:
            await self._started.pop().kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()
        self._requests.close()
        self._parent.wait()
