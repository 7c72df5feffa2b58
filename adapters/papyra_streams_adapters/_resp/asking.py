"""One asks at a time, for all who wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy

import anyio

from papyra_streams.errors import StreamsError


class Asking:
    """Lets one after another ask. Whoever waited while another one failed would only wait as long for the same."""

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        self._failure: tuple[float, StreamsError] | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn.

        :raises StreamsError: what another one failed with meanwhile
        """
        began = anyio.current_time()
        async with self._lock:
            if self._failure and self._failure[0] >= began:
                raise _again(self._failure[1])
            try:
                yield
            except StreamsError as error:
                self._failure = anyio.current_time(), error
                raise
            self._failure = None


def _again(error: StreamsError) -> StreamsError:
    # One that is raised twice gathers both tracebacks.
    other = copy(error)
    other.__cause__ = error.__cause__
    return other
