"""What a client library must supply: five things, in bytes. All else is built once, above it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from papyra_streams.errors import StreamsError

Argument = bytes | str | int
"""One word of a command. Text goes out as UTF-8, an integer in decimal."""

Reply = bytes | int | float | bool | None | Sequence["Reply"] | Mapping["Reply", "Reply"]
"""A raw reply: RESP2's flat lists or RESP3's maps, text always as bytes. A status such as OK is ``b"OK"``."""

Command = tuple[Argument, ...]

LONGEST_BLOCK_MS = 1000
"""The longest the server is asked to hold a read back. A read outlives its cancelled caller by at most this long, and a
dead connection is noticed after it, however long the caller is willing to wait."""


class RespClient(ABC):
    """Runs commands through one client library, without interpreting them: on one server, or where their keys are.

    Constructing does no I/O; the first command connects. Every method may be called from any task. The client
    repeats nothing by itself: a command is sent at most once per call. Only errors of `papyra_streams.errors` leave
    it: `Unavailable` if the command certainly did not run, `Indeterminate` if it was sent and no whole reply came.
    """

    event_loops: frozenset[str] = frozenset({"asyncio"})
    """The event loops it runs on, by sniffio's names."""

    @abstractmethod
    async def call(self, *command: Argument, keys: Sequence[int] = (1,)) -> Reply:
        """Run one command and return its reply.

        A caller that is cancelled loses the reply, and disturbs nobody else's.

        :param keys: the positions in ``command`` that hold keys, for routing in a cluster
        """

    def place(self, key: str) -> int:  # noqa: ARG002 -- one server has all keys
        """Return where a key lies: keys of one place may stand in one command."""
        return 0

    @abstractmethod
    async def batch(
        self, commands: Sequence[Command], *, keys: Sequence[int] = (1,), timeout: float = 0.0
    ) -> list[Reply | StreamsError]:
        """Run commands in one round trip on one connection, in order, not atomically.

        An error stands in its command's place; one whose reply is lost after others came is `Indeterminate` there. All
        replies together may take as long as that of one command, and ``timeout`` more.

        :param keys: the positions in the first command that hold keys; those of the others lie in the same place
        :param timeout: for how many seconds the server may hold replies back, such as WAIT's; nobody else is delayed
        :raises StreamsError: only where nothing is known of any of them
        """

    @abstractmethod
    async def call_blocking(self, *command: Argument, keys: Sequence[int] = (1,), timeout: float) -> Reply:
        """Run a command that the server may hold back for up to ``timeout`` seconds, without delaying others.

        It must not be cancelled once begun (what was delivered would be stranded); the caller sees to that.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection; from any task, once or more often. Calls in flight end with an error."""


class RespPart:
    """A part of a store, which other parts share a client with."""

    def __init__(self, client: RespClient) -> None:
        self._client = client
