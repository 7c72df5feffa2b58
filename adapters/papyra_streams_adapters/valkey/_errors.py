"""valkey-py's table of errors."""

from valkey import exceptions

from papyra_streams_adapters._redispy.errors import ErrorTable

ERRORS = ErrorTable(exceptions.ValkeyError, exceptions)
