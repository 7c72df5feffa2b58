"""Commands to whichever server the Sentinels say is the primary (Redis documentation, "Sentinel client spec")."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import anyio

from papyra_streams.endpoint import SentinelService
from papyra_streams.errors import (
    AuthenticationFailed,
    ConfigurationError,
    Indeterminate,
    Rejected,
    StreamsError,
    Unavailable,
    UnsupportedOperation,
)
from papyra_streams.ports import Timeouts
from papyra_streams.tasks import DetachedTask, spawn

from .asking import Asking
from .client import Argument, Command, Reply, RespClient
from .errors import nobody_told
from .nodes import Connect, Nodes
from .racing import Race
from .replies import items, number, pairs, text
from .slots import Address

ResultT = TypeVar("ResultT")

# How old, in seconds, the Sentinels' word may be before they are asked again, while commands go on.
_FRESH = 1.0
# How long, in seconds, a command waits for that after a silence in which a failover may have gone unnoticed.
_WAIT_WHEN_IDLE = 1.0
_IDLE = 2.0
# Once one Sentinel has answered, how long the others have to contradict it; seconds.
_TIME_TO_CONTRADICT = 0.5


class _Word(NamedTuple):
    """What one Sentinel says: later epochs overrule earlier ones."""

    epoch: int
    primary: Address


class SentinelClient(RespClient):
    """Runs commands on the primary of a service.

    All Sentinels are asked, and the latest configuration counts, since one that was cut off still names the former
    primary. What they name is used once it calls itself a primary. They are asked again after every failure, and each
    second while there are commands: a former primary that comes back does not know yet that it is none.
    """

    def __init__(self, service: SentinelService, timeouts: Timeouts, connect: Connect) -> None:
        self._service = service
        self._nodes = Nodes(service.primary, connect, timeouts)
        self._sentinels = Nodes(service.sentinels[0], connect, timeouts)
        self._asked = [Address.of(each) for each in service.sentinels]
        self.event_loops = self._sentinels.at(self._asked[0]).event_loops
        self._primary: Address | None = None
        self._is_doubtful = False
        self._told_at = float("-inf")
        self._used_at = float("-inf")
        self._asking = Asking()
        self._check: DetachedTask[None] | None = None
        # That commands wait for: before it, nobody would have noticed a failover.
        self._awaited: DetachedTask[None] | None = None

    async def call(self, *command: Argument, keys: Sequence[int] = (1,)) -> Reply:
        """Run one command on the primary."""
        return await self._on_primary(lambda primary: primary.call(*command, keys=keys))

    async def call_blocking(self, *command: Argument, keys: Sequence[int] = (1,), timeout: float) -> Reply:
        """Run one command on the primary, and wait; a failover ends the wait."""
        return await self._on_primary(lambda primary: primary.call_blocking(*command, keys=keys, timeout=timeout))

    async def batch(
        self, commands: Sequence[Command], *, keys: Sequence[int] = (1,), timeout: float = 0.0
    ) -> list[Reply | StreamsError]:
        """Run commands on the primary."""
        replies = await self._on_primary(lambda primary: primary.batch(commands, keys=keys, timeout=timeout))
        if any(isinstance(reply, Unavailable | Indeterminate) for reply in replies):
            self._is_doubtful = True
        return replies

    async def aclose(self) -> None:
        """Close the connections to the servers and to the Sentinels."""
        if self._check:
            self._check.cancel()
        async with anyio.create_task_group() as closing:
            closing.start_soon(self._nodes.aclose)
            closing.start_soon(self._sentinels.aclose)

    async def _on_primary(self, run: Callable[[RespClient], Awaitable[ResultT]]) -> ResultT:
        address = await self._known()
        try:
            return await run(self._nodes.at(address))
        except (Unavailable, Indeterminate):
            # A call that began on a former primary tells nothing about the one there is now.
            self._is_doubtful = self._is_doubtful or address == self._primary
            raise

    async def _known(self) -> Address:
        now = anyio.current_time()
        was_idle, self._used_at = now - self._used_at > _IDLE, now
        if self._primary is None or self._is_doubtful:
            return await self._found()
        if now - self._told_at > _FRESH and (self._check is None or self._check.done):
            self._check = spawn(self._look_again, name="papyra-streams ask Sentinels")
        if was_idle:
            self._awaited = self._check
        if self._awaited:
            with anyio.move_on_after(_WAIT_WHEN_IDLE):
                await self._awaited.wait()
            # Without Sentinels that answer, nobody waits for it once more.
            self._awaited = None
        return self._primary

    async def _look_again(self) -> None:
        # Without a Sentinel that answers, the primary stays what it is.
        try:
            await self._found()
        except StreamsError:
            self._told_at = anyio.current_time()

    async def _found(self) -> Address:
        began = anyio.current_time()
        async with self._asking.turn():
            if self._primary is not None and not self._is_doubtful and self._told_at >= began:
                return self._primary
            return await self._find()

    async def _find(self) -> Address:
        named = await self._ask_sentinels()
        if named != self._primary or self._is_doubtful:
            await self._check_role(named)
        former, self._primary = self._primary, named
        self._is_doubtful = False
        self._told_at = anyio.current_time()
        if former is not None and former != named:
            # What is under way there would wait for a server that is gone, or be written where it is lost.
            await self._nodes.cut(former)
        return named

    async def _check_role(self, named: Address) -> None:
        reply = await self._nodes.at(named).call("ROLE", keys=())
        role = text(items(reply)[0])
        if role != "master":
            raise Unavailable(
                f"The Sentinels of {self._service} name {named.host}:{named.port}, which calls itself a {role};"
                " a failover is under way.",
                code="READONLY",
            )

    async def _ask_sentinels(self) -> Address:
        race: Race[Address, _Word] = Race(self._ask_sentinel, head_start=0.0)
        await race.run(self._asked, enough=lambda answers: _TIME_TO_CONTRADICT if answers else None)
        if not race.answers:
            raise self._why_unknown(race.errors)
        return max(race.answers).primary

    async def _ask_sentinel(self, address: Address) -> _Word:
        sentinel, name = self._sentinels.at(address), self._service.name
        # In this order: an address that is newer than its epoch loses nothing, an older one would prevail by it.
        try:
            state = await sentinel.call("SENTINEL", "MASTER", name, keys=())
        except AuthenticationFailed as error:
            raise _refused(error) from None
        host, port = items(await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name, keys=()))
        facts = {text(name): value for name, value in pairs(state)}
        return _Word(number(int(text(facts["config-epoch"]))), Address(text(host), int(text(port))))

    def _why_unknown(self, errors: Sequence[StreamsError]) -> StreamsError:
        told = nobody_told(f"No Sentinel of {self._service} names a primary.", errors)
        if isinstance(told, Rejected) and "No such master" in str(told):
            todo = self._service.primary.correction(
                url="write its name at the end of `url`", client="give a client of one that they know"
            )
            return ConfigurationError(
                f"The Sentinels of {self._service} know no service {self._service.name!r}; {todo}."
            )
        if isinstance(told, UnsupportedOperation):
            return ConfigurationError(f"{self._service} does not lead to Sentinels but to other servers.")
        return told


def _refused(error: AuthenticationFailed) -> AuthenticationFailed:
    refused = AuthenticationFailed("The Sentinels do not let us in.", code=error.code)
    refused.remedy = (
        "They have passwords of their own: `sentinel_username` and `sentinel_password` after the '?' of `url`,"
        " or the `sentinel_kwargs` of a client."
    )
    return refused
