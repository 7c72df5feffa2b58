"""valkey-py's connections."""

from valkey.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from valkey.asyncio.connection import DefaultParser
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff

from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._redispy.client import FamilyClient
from papyra_streams_adapters._redispy.library import Library

from ._errors import ERRORS


class _Parser(DefaultParser):  # type: ignore[valid-type, misc]  # which class it is depends on what is installed
    """Keeps the server's error word where redis-py 8 does; valkey-py takes most off the text and forgets them."""

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        error: Exception = super().parse_error(response)
        if str(error) != response:
            error.status_code = response.partition(" ")[0]  # type: ignore[attr-defined]  # not one of the class's own
        return error


_LIBRARY = Library(
    tcp=Connection,
    tls=SSLConnection,
    unix=UnixDomainSocketConnection,
    options={"retry": Retry(NoBackoff(), 0), "retry_on_error": [], "parser_class": _Parser},
    has_input=Connection.can_read_destructive,
    errors=ERRORS,
)


class ValkeyClient(FamilyClient):
    """Runs commands through valkey-py."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts) -> None:
        super().__init__(_LIBRARY, endpoint, timeouts)
