"""Servers that let nobody in without a password, and do for the driver's user only what it has to be allowed."""

from collections.abc import Mapping
from functools import cached_property

from papyra_streams.endpoint import Endpoint

from ..processes import ServerProcess
from ..rights import EVERYTHING
from ..secrecy import SECRET
from ..servers import LOCALHOST, PrivateServer, free_port, replication
from ..wire import ask_once
from .base import TopologySource

USER = "suite"
_ADMINISTRATOR = f"{SECRET}-administrator"

# What a store does only where it is asked to.
_BESIDE = ("+ping", "+wait")


class AclSource(TopologySource):
    """The driver's user has the documented rights and few more; raw connections may do everything."""

    topology = "acl"
    example = "redis://somebody:password@localhost"

    def _make(
        self, settings: Mapping[str, str], *, keeps_data: bool, replica_of: PrivateServer | None
    ) -> ServerProcess:
        endpoint = Endpoint(host=LOCALHOST, port=free_port(), password=_ADMINISTRATOR)
        rights = {
            "requirepass": _ADMINISTRATOR,
            "masterauth": _ADMINISTRATOR,
            "user": " ".join([USER, *EVERYTHING.line(keys=["*"]), *self._beside]),
        }
        return ServerProcess(
            self.program,
            {**rights, **replication(replica_of), **settings},
            keeps_data=keeps_data,
            endpoint=endpoint,
            url=f"redis://{USER}:{SECRET}@{endpoint.address}/0",
        )

    @cached_property
    def _beside(self) -> tuple[str, ...]:
        # A server refuses to start with a right to what it does not know.
        said = ask_once(self.single.shared().endpoint, "WAITAOF 0 0 0")
        return _BESIDE if said.startswith(b"-ERR unknown command") else (*_BESIDE, "+waitaof")
