"""What becomes of a primary, and of its replicas meanwhile."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio

from papyra_streams_contract.processes import ServerProcess
from papyra_streams_contract.wire import ask_once

from .deployments import Deployment

_SECONDS_CUT_OFF = 0.1


class Fault(ABC):
    """Something that makes another member take over."""

    replicas = 1
    """How many of them a primary needs for it."""

    @abstractmethod
    def strike(self, deployment: Deployment, key: str) -> AbstractAsyncContextManager[ServerProcess]:
        """Do it to the primary of a key, which is returned; the block waits until another member has taken over."""

    async def mend(self, deployment: Deployment, former: ServerProcess, key: str) -> None:
        """Bring back what was the primary."""
        await deployment.restart(former, key)

    async def happen(self, deployment: Deployment, key: str) -> None:
        """Do all of it, and return when another failover would succeed."""
        async with self.strike(deployment, key) as former:
            await deployment.taken_over(key, former)
        await self.mend(deployment, former, key)
        await deployment.in_step()


class Kill(Fault):
    """The primary is killed."""

    @asynccontextmanager
    async def strike(self, deployment: Deployment, key: str) -> AsyncIterator[ServerProcess]:
        primary = deployment.primary(key)
        deployment.kill(primary)
        yield primary


class KillAhead(Fault):
    """The primary is killed when its replicas have not heard of it for a moment."""

    @asynccontextmanager
    async def strike(self, deployment: Deployment, key: str) -> AsyncIterator[ServerProcess]:
        primary = deployment.primary(key)
        replicas = deployment.replicas(primary)
        for replica in replicas:
            _cut_off(deployment, primary, replica)
        await anyio.sleep(_SECONDS_CUT_OFF)
        deployment.kill(primary)
        for replica in replicas:
            deployment.resume(replica)
        yield primary


class KillAheadOfOne(Fault):
    """The primary is killed when one of two replicas has not heard of it for a moment, and that one takes over."""

    replicas = 2

    @asynccontextmanager
    async def strike(self, deployment: Deployment, key: str) -> AsyncIterator[ServerProcess]:
        primary = deployment.primary(key)
        behind, other = deployment.replicas(primary)
        _cut_off(deployment, primary, behind)
        await anyio.sleep(_SECONDS_CUT_OFF)
        deployment.pause(other)
        deployment.kill(primary)
        deployment.resume(behind)
        yield primary
        deployment.resume(other)
        deployment.follow(other, key)


class Pause(Fault):
    """The primary is stopped, and lives on believing that it is one."""

    @asynccontextmanager
    async def strike(self, deployment: Deployment, key: str) -> AsyncIterator[ServerProcess]:
        primary = deployment.primary(key)
        deployment.pause(primary)
        yield primary

    async def mend(self, deployment: Deployment, former: ServerProcess, key: str) -> None:  # noqa: ARG002 -- knows by itself
        deployment.resume(former)


def _cut_off(deployment: Deployment, primary: ServerProcess, replica: ServerProcess) -> None:
    # It would connect again at once; and what is on its way to a replica that lives would still arrive.
    deployment.pause(replica)
    ask_once(primary.endpoint, "CLIENT KILL TYPE replica")
