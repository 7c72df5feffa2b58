"""Whether a server answers, and what it can do."""

from papyra_streams.errors import (
    GroupMissing,
    OutOfMemory,
    PermissionDenied,
    Rejected,
    StreamsError,
    UnsupportedOperation,
)
from papyra_streams.ports import Capabilities, HealthPort

from . import replies
from .client import Command, Reply, RespClient, RespPart
from .slots import hashed

_NOT_THERE = "papyra-streams:probe"
# Whoever asks for something else is not to fail for these.
_REFUSALS = (UnsupportedOperation, PermissionDenied, OutOfMemory, Rejected, GroupMissing)


class RespHealth(RespPart, HealthPort):
    """Asks the server about itself."""

    def __init__(self, client: RespClient) -> None:
        super().__init__(client)
        self._capabilities: Capabilities | None = None

    async def ping(self) -> None:
        await self._client.call("PING", keys=())

    async def clock_ms(self) -> int:
        seconds, microseconds = map(replies.number, replies.items(await self._client.call("TIME", keys=())))
        return seconds * 1000 + microseconds // 1000

    async def capabilities(self, *, near: str = "") -> Capabilities:
        if self._capabilities is None:
            lag, fsync, claiming = await self._ask(near)
            self._capabilities = Capabilities(
                lag=isinstance(lag, Rejected) and "ENTRIESREAD" in str(lag),
                # It is refused where there is no append-only file.
                fsync=not isinstance(fsync, StreamsError),
                claiming_reads=isinstance(claiming, GroupMissing),
                trio="trio" in self._client.event_loops,
            )
        return self._capabilities

    async def _ask(self, near: str) -> list[Reply | StreamsError]:
        is_elsewhere = near and self._client.place(near) != self._client.place(_NOT_THERE)
        answers = await self._client.batch(
            _probes(f"{_NOT_THERE}:{{{hashed(near.encode()).decode()}}}" if is_elsewhere else _NOT_THERE),
            keys=(2,),
            timeout=0.001,
        )
        for answer in answers:
            if isinstance(answer, StreamsError) and not isinstance(answer, _REFUSALS):
                raise answer
        return answers


def _probes(stream: str) -> tuple[Command, ...]:
    """Make commands that are refused everywhere, and write nothing; what tells is the reason.

    The number of entries read is what a server counts the lag by, and -2 is none; the read is of a stream that is not
    there.
    """
    return (
        ("XGROUP", "CREATE", stream, "probe", "$", "ENTRIESREAD", -2),
        ("WAITAOF", 1, 0, 1),
        ("XREADGROUP", "GROUP", "probe", "probe", "COUNT", 1, "CLAIM", 1, "STREAMS", stream, ">"),
    )
