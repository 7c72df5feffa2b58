"""The clients of a topology's single servers."""

from collections.abc import Callable, Collection
from functools import partial

import anyio

from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import Timeouts
from papyra_streams.tasks import DetachedTask, spawn

from .client import LONGEST_BLOCK_MS, RespClient
from .errors import closed
from .slots import Address

Connect = Callable[[Endpoint], RespClient]
"""Makes the client of one server, which connects with its first command."""


class Nodes:
    """Makes a client for each address, keeps it, and closes it."""

    def __init__(self, template: Endpoint, connect: Connect, timeouts: Timeouts) -> None:
        """Make clients like that of the template."""
        self._template = template
        self._connect = connect
        # What is under way on one that is dropped may take so long.
        self._patience = timeouts.command + LONGEST_BLOCK_MS / 1000
        self._clients: dict[Address, RespClient] = {}
        self._dropped: dict[RespClient, DetachedTask[None]] = {}
        self.is_closed = False

    def at(self, address: Address) -> RespClient:
        """Return the client of the server at an address.

        :raises Closed: from `aclose` on
        """
        if self.is_closed:
            raise closed()
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = self._connect(self._template.at(*address))
        return client

    def keep(self, addresses: Collection[Address]) -> None:
        """Drop the clients of all other servers, once they had time to finish what they do."""
        for address in self._clients.keys() - set(addresses):
            client = self._clients.pop(address)
            self._dropped[client] = spawn(partial(self._close_later, client), name="papyra-streams drop node")

    async def cut(self, address: Address) -> None:
        """Close the client of a server at once, with what is under way."""
        if client := self._clients.pop(address, None):
            await client.aclose()

    async def aclose(self) -> None:
        """Close every client."""
        self.is_closed = True
        dropped = dict(self._dropped)
        for task in dropped.values():
            task.cancel()
        async with anyio.create_task_group() as closing:
            for client in [*self._clients.values(), *dropped]:
                closing.start_soon(client.aclose)
            for task in dropped.values():
                closing.start_soon(task.wait)

    async def _close_later(self, client: RespClient) -> None:
        await anyio.sleep(self._patience)
        await client.aclose()
        del self._dropped[client]
