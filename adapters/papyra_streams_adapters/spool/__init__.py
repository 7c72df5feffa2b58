"""Records on local disk, in SQLite: synced, in order, shared by processes, gone from the disk when they are taken."""

from pathlib import Path

from papyra_streams.errors import ConfigurationError
from papyra_streams.ports.spool import SpoolPort


def spool(path: Path, max_bytes: int) -> SpoolPort:
    """Give access to the spool in one file, without I/O.

    ``max_bytes`` bounds what stands on disk: the file, the log that SQLite keeps beside it (4 MiB, less where the bound
    is small), and room in reserve (5 MiB, likewise), without which a spool that has filled its disk could not shrink. A
    large `SpoolPort.put` may swell the log and the reserve for a while, by up to three times what it puts. A bound of
    less than 256 KiB is not kept.

    :raises ConfigurationError: on a platform that lacks file locks, such as Windows
    """
    try:
        from ._spool import SqliteSpool
    except ImportError as error:
        raise ConfigurationError("`spool_dir` works on Linux and macOS only; leave it out.") from error
    return SqliteSpool(path, max_bytes)
