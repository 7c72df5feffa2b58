"""One real server, and the commands on it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from papyra_streams import RedisStreamsConfig
from papyra_streams.cli import app
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.domain.partitions import Partition

# redis-py's types have to do for its asynchronous client too.
Client = Any


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """Return a client of the server, which arranges and observes."""
    with Redis.from_url(url) as client:
        yield client


class Outcome:
    """What a command printed, and its exit status."""

    def __init__(self, status: int, out: bytes, err: str) -> None:
        self.status = status
        self.raw = out
        self.out = out.decode(errors="replace")
        self.err = err

    @property
    def json(self) -> Any:
        """The standard output as JSON."""
        return json.loads(self.out)

    def row(self, *cells: object) -> bool:
        """Tell whether there is a line with these words, and no others."""
        return [*map(str, cells)] in [line.split() for line in self.out.splitlines()]


class Commands:
    """The commands, on the streams of one actor system."""

    def __init__(self, url: str, prefix: str, client: Client) -> None:
        self.url = url
        self.keys: Keyspace = RedisStreamsConfig(prefix=prefix, system_id="orders").keyspace()
        self.events = self.keys.stream(Partition(EVENTS))
        self.quarantine = self.keys.quarantine(Partition(EVENTS))
        self._options = ["--url", url, "--prefix", prefix, "--system-id", "orders"]
        self._client = client

    def __call__(self, *words: str, given: bytes = b"", driver: str = "redis") -> Outcome:
        """Run a command to its end."""
        return run(*words, *self._options, "--driver", driver, given=given)

    def add(self, data: bytes | str | None = None, **fields: str) -> str:
        """Add an event, without its backend; by default a good one. Return its id."""
        entry: Mapping[str, str | bytes] = fields or {"data": good() if data is None else data}
        return self.put(self.events, entry)

    def put(self, stream: str, fields: Mapping[str, str | bytes]) -> str:
        """Add an entry to any stream, and return its id."""
        return str(self._client.xadd(stream, fields).decode())

    def pending(self, group: str = "billing", consumer: str = "worker-1") -> None:
        """Give everything there is to a consumer."""
        self._client.xgroup_create(self.events, group, id="0", mkstream=True)
        self._client.xreadgroup(group, consumer, {self.events: ">"})

    def in_quarantine(self) -> list[str]:
        """Return the ids of what is in quarantine."""
        return [each.decode() for each, _ in self._client.xrange(self.quarantine)]


def run(*words: str, given: bytes = b"") -> Outcome:
    result = CliRunner().invoke(app, words, input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Outcome(result.exit_code, result.stdout_bytes, result.stderr)


def good(event_type: str = "ActorStarted") -> str:
    """Return the data of an event that can be read."""
    return json.dumps({"kind": "event", "event_type": event_type, "payload": {}, "timestamp": 1.0})


@pytest.fixture
def commands(url: str, prefix: str, client: Client) -> Commands:
    """Return the commands, on streams that are empty."""
    return Commands(url, prefix, client)
