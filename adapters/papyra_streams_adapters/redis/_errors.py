"""redis-py's table of errors."""

from redis import exceptions

from papyra_streams_adapters._redispy.errors import ErrorTable

ERRORS = ErrorTable(exceptions.RedisError, exceptions)
