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
    """Does two things as redis-py 8 does them."""

    async def can_read_destructive(self) -> bool:
        # valkey-py's own lets the event loop go round before every command. asyncio has no public word for this.
        arrived = self._stream._buffer  # noqa: SLF001 -- redis-py asks the same
        return not self._connected or self._stream.at_eof() or bool(arrived) or self._has_unread()

    def _has_unread(self) -> bool:
        # libvalkey's parser has a reader, the one in Python a buffer.
        return bool(self._reader.has_data() if hasattr(self, "_reader") else self._buffer)

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        # valkey-py takes the server's error word off most texts and forgets it.
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
