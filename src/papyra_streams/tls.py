"""TLS as it is used here: the server's certificate has to be valid, and issued for the name it is reached by.

A client that a user has built may have other ideas.
"""

import logging
import os
import ssl
from functools import lru_cache

from papyra_streams.endpoint import ClusterNodes, Endpoint, SentinelService, Server, Tls
from papyra_streams.errors import Unavailable

logger = logging.getLogger("papyra_streams")


def context_of(tls: Tls) -> ssl.SSLContext:
    """Return the context for a connection; files that were replaced since the last one are read again.

    :raises Unavailable: if a file cannot be used, as may be for a moment while certificates are renewed
    """
    if tls.context is not None:
        return tls.context
    try:
        stamps = tuple(os.stat(path).st_mtime_ns if path else 0 for path in (tls.ca, tls.cert, tls.key))  # noqa: PTH116 -- they are text
        return _context(tls, stamps)
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError; it tells neither the file nor what it should hold.
        files = ", ".join(path for path in (tls.ca, tls.cert, tls.key) if path)
        raise Unavailable(f"The files for TLS ({files}) cannot be used: {error}. They must be PEM files.") from error


def warn_if_unverified(server: Server) -> None:
    """Log, once, if a context that the user has made lets others pass for the server."""
    for endpoint in _endpoints(server):
        context = endpoint.tls and endpoint.tls.context
        # A context that accepts every certificate compares no name either.
        if context and not context.check_hostname:
            accepted = "every certificate" if context.verify_mode is ssl.CERT_NONE else "certificates of every host"
            logger.warning("The client accepts %s: others can pass for %s, and read along.", accepted, server)
            return


def _endpoints(server: Server) -> tuple[Endpoint, ...]:
    match server:
        case ClusterNodes():
            return server.nodes
        case SentinelService():
            return (*server.sentinels, server.primary)
    return (server,)


# Reading the system's authorities takes some 20 ms, which not every connection is to cost.
@lru_cache(maxsize=16)
def _context(tls: Tls, _stamps: tuple[int, ...]) -> ssl.SSLContext:
    # With a file of its own, the system's authorities are not trusted.
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key, password=_refuse)
    return context


def _refuse() -> str:
    # OpenSSL would ask for it at the terminal, and hold up everything else meanwhile.
    raise ValueError("the key is encrypted")
