"""Servers that let nobody in without a password, nor do anything that the driver's user need not do."""

from collections.abc import Mapping

from papyra_streams.endpoint import Endpoint

from ..processes import ServerProcess
from ..rights import EVERYTHING
from ..secrecy import SECRET
from ..servers import LOCALHOST, PrivateServer, free_port, replication
from .base import TopologySource

USER = "suite"
_ADMINISTRATOR = f"{SECRET}-administrator"


class AclSource(TopologySource):
    """The driver's user has the documented rights and no others; raw connections may do everything."""

    topology = "acl"
    example = "redis://somebody:password@localhost"

    def _make(
        self, settings: Mapping[str, str], *, keeps_data: bool, replica_of: PrivateServer | None
    ) -> ServerProcess:
        endpoint = Endpoint(host=LOCALHOST, port=free_port(), password=_ADMINISTRATOR)
        rights = {
            "requirepass": _ADMINISTRATOR,
            "masterauth": _ADMINISTRATOR,
            "user": " ".join([USER, *EVERYTHING.line(keys=["*"])]),
        }
        return ServerProcess(
            self.program,
            {**rights, **replication(replica_of), **settings},
            keeps_data=keeps_data,
            endpoint=endpoint,
            url=f"redis://{USER}:{SECRET}@{endpoint.address}/0",
        )
