"""Settings: what Papyra's own Redis backend takes, in its order and with its defaults, and the driver."""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import quote

from .domain.arguments import LARGEST, check_count, check_seconds, is_whole
from .domain.entries import check_start
from .domain.keys import Keyspace, check_name
from .domain.writing import WritePolicy
from .endpoint import CredentialsProvider, EmbeddedDirectory, Server, Tls
from .errors import InvalidValue
from .urls import parse_url, without_password

DRIVER_VARIABLE = "PAPYRA_STREAMS_DRIVER"
DEFAULT_DRIVER = "redis"
_PLACE = ("url", "ca", "cert", "key", "credentials")


def _driver_from_environment() -> str:
    return os.environ.get(DRIVER_VARIABLE) or DEFAULT_DRIVER


@dataclass(frozen=True, slots=True, repr=False)
class RedisStreamsConfig:
    """Where the streams are and how they are used. Everything is checked at once; nothing connects.

    :raises ConfigurationError: if a setting cannot be used
    """

    url: str = "redis://localhost:6379/0"
    """``redis://``, ``rediss://``, ``valkey://``, ``valkeys://``, ``unix:///path?db=n``, ``embedded://`` for a private
    server that is thrown away, or ``embedded:///directory`` for one that keeps its data there. A cluster is
    ``redis+cluster://host:port,host:port``, what Sentinels watch is ``redis+sentinel://host:port,host:port/service``;
    ``rediss+cluster://`` and the like with TLS."""

    prefix: str = "papyra"
    """Begins every key: ``{prefix}:{system_id}:events``. It may have several parts, divided by ``:``."""

    system_id: str = "local"
    """Tells the actor systems that share a prefix apart."""

    scan_sample_size: int = 1000
    """How many entries of each stream a scan reads, the newest first; bounds the time a startup check takes."""

    max_read: int = 50_000
    """How many entries one ``list_*`` call reads at most, counted from the newest; bounds its memory."""

    approx_trim: bool = True
    """Whether compaction may leave some old entries in place, which spares the server work (XTRIM with ``~``)."""

    quarantine_prefix: str | None = None
    """Begins the keys of the quarantine streams; None means ``{prefix}:{system_id}:quarantine``."""

    driver: str = field(default_factory=_driver_from_environment)
    """The client library: ``redis``, ``valkey``, ``coredis`` or one that another distribution adds. Where the code
    names none, the variable PAPYRA_STREAMS_DRIVER does, and ``redis`` where that is unset."""

    connect_timeout: float = 5.0
    """How long to wait for a connection, in seconds; the clients' own usual value."""

    command_timeout: float = 5.0
    """How long to wait for a reply, in seconds; the time a read may block by itself is added to it."""

    write_policy: WritePolicy = field(default_factory=WritePolicy)
    """What writing waits for, and where records stay while the server is away."""

    abandoned_after: float | None = None
    """After how many seconds without a sign of life of any of its consumers, at least 1, a group no longer keeps
    entries from compaction; compactions see it, and have to be made more often than that. None: never, since what it
    was not given would be lost to it."""

    startup_timeout: float | None = None
    """How long `scan` and `recover` may take, in seconds, unless they are to go through everything: an actor system
    waits for them when it starts. None sets no limit; a server that is away is given up on after a few seconds, one
    that does not answer after some ten."""

    ca: str | Path | None = None
    """The PEM file of the authorities whose certificates are trusted, for a URL that asks for TLS; None for the
    system's. It may stand in the URL instead, as ``?ca=``; so may the next two."""

    cert: str | Path | None = None
    """The PEM file of our own certificate, where the server asks for one; it may hold the key as well."""

    key: str | Path | None = None
    """The PEM file of its key."""

    credentials: CredentialsProvider | None = None
    """Returns `Credentials`, or an awaitable of them, in place of a user name and a password in the URL. It is called
    before each connection is opened, so that a password may change while the process runs."""

    partitions: int = 1
    """Among how many streams events and dead letters are divided, by their actors, so that one hot actor system has the
    memory and the processors of several nodes of a cluster. All processes must have the same number; it may be raised,
    and never lowered."""

    def __post_init__(self) -> None:
        self._check_files()
        self.target()
        self.keyspace()
        if self.abandoned_after is not None:
            check_seconds("abandoned_after", self.abandoned_after, at_least=1.0)
        if self.startup_timeout is not None:
            check_seconds("startup_timeout", self.startup_timeout)
        check_count("scan_sample_size", self.scan_sample_size)
        check_count("max_read", self.max_read)
        if not isinstance(self.approx_trim, bool):
            raise InvalidValue(f"`approx_trim` must be True or False, not {self.approx_trim!r}.")
        check_seconds("connect_timeout", self.connect_timeout)
        check_seconds("command_timeout", self.command_timeout)
        if not isinstance(self.driver, str) or not self.driver:
            raise InvalidValue(
                f"`driver` must be the name of a driver, such as {DEFAULT_DRIVER!r}, not {self.driver!r}."
            )

        if not isinstance(self.write_policy, WritePolicy):
            raise InvalidValue(f"`write_policy` must be a WritePolicy, not {type(self.write_policy).__name__}.")

    def target(self) -> Server | EmbeddedDirectory:
        """Say where the streams are."""
        ca, cert, key = (None if path is None else str(path) for path in (self.ca, self.cert, self.key))
        files = Tls(ca=ca, cert=cert, key=key)
        return parse_url(self.url, files=files, credentials=self.credentials)

    def place(self) -> list[str]:
        """Name the settings that say where the streams are and who we are there, as far as they were made."""
        return [each.name for each in fields(self) if each.name in _PLACE and getattr(self, each.name) != each.default]

    def _check_files(self) -> None:
        for name, value in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            if value is not None and (not isinstance(value, str | Path) or not str(value)):
                raise InvalidValue(f"`{name}` must be the path of a file, not {value!r}.")
        if self.credentials is not None and not callable(self.credentials):
            raise InvalidValue("`credentials` must be a function that returns Credentials.")

    def keyspace(self) -> Keyspace:
        """Name the keys these settings lead to."""
        return Keyspace(self.prefix, self.system_id, self.quarantine_prefix, self.partitions)

    def spool_path(self) -> Path | None:
        """Name the file of the spool, which belongs to these streams wherever their server is; None without a spool."""
        directory = self.write_policy.spool_path
        return directory and directory / f"{quote(self.keyspace().namespace, safe='')}.spool.sqlite3"

    def __repr__(self) -> str:
        """Show the settings without the password."""
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__}
        shown["url"] = without_password(self.url)
        # What it was made of may be a secret.
        shown["credentials"] = self.credentials and type(self.credentials)
        return f"RedisStreamsConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@dataclass(frozen=True, slots=True)
class RedisConsumerGroupConfig:
    """How one consumer reads from one group.

    :raises ConfigurationError: if a value cannot be used
    """

    group: str
    """The group, among whose consumers the entries are divided."""

    consumer: str
    """This consumer's name; two workers that share one name share their pending entries too."""

    count: int = 100
    """How many entries one call returns at most."""

    block_ms: int | None = 1000
    """How long a call waits for an entry, in milliseconds: 0 returns at once, None waits without limit."""

    start_id: str = "0"
    """Where a group begins that has to be created: ``"0"`` at the oldest entry, ``"$"`` with new ones, or an id."""

    ensure_group: bool = True
    """Whether a group that is missing is created; otherwise `GroupMissing` is raised."""

    def __post_init__(self) -> None:
        check_name("group", self.group)
        check_name("consumer", self.consumer)
        check_start(self.start_id)
        check_count("count", self.count, at_most=LARGEST)
        if self.block_ms is not None and not (is_whole(self.block_ms) and 0 <= self.block_ms <= LARGEST):
            raise InvalidValue(
                f"`block_ms` must be a number of milliseconds from 0 to {LARGEST}, or None, not {self.block_ms!r}."
            )
