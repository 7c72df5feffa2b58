"""redis-py's connections."""

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from papyra_streams.endpoint import Endpoint
from papyra_streams.ports import Timeouts
from papyra_streams_adapters._redispy.client import FamilyClient
from papyra_streams_adapters._redispy.library import Library

from ._errors import ERRORS

_LIBRARY = Library(
    tcp=Connection,
    tls=SSLConnection,
    unix=UnixDomainSocketConnection,
    options={"retry": Retry(NoBackoff(), 0), "retry_on_error": []},
    has_input=Connection.can_read,
    errors=ERRORS,
)


class RedisClient(FamilyClient):
    """Runs commands through redis-py."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts) -> None:
        super().__init__(_LIBRARY, endpoint, timeouts)
