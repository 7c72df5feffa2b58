"""One partition fails while a consumer is given what others have."""

import itertools

import orjson
import pytest

from papyra_streams import RedisConsumerGroupConfig, StreamsMetrics
from papyra_streams.application.consuming import Consuming
from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import EVENTS
from papyra_streams.errors import GroupMissing, Indeterminate, PermissionDenied, StreamsError, Unavailable

from .fakes import FakeStore

pytestmark = pytest.mark.anyio

CONFIG = RedisConsumerGroupConfig(group="workers", consumer="me", count=10, block_ms=0, ensure_group=False)
RECORD = orjson.dumps({"kind": "event", "event_type": "x", "actor_address": "a", "payload": {}, "timestamp": 1.0})


class Partly(FakeStore):
    """Has an entry for each read of a partition, but of one that fails."""

    def __init__(self, failure: StreamsError) -> None:
        super().__init__()
        self._failure = failure
        self._numbers = itertools.count(1)

    async def read_group(
        self,
        stream: str,
        *_: object,
        **__: object,
    ) -> list[Entry]:
        if stream.endswith(":1"):
            raise self._failure
        return [Entry(EntryId(next(self._numbers), 0), {b"data": RECORD})]


def consuming(failure: StreamsError) -> Consuming:
    """Consume three partitions, of which one fails."""
    return Consuming(Partly(failure), Keyspace("papyra", "orders", partitions=3), StreamsMetrics())


@pytest.mark.parametrize("failure", [GroupMissing("No group."), Indeterminate("No reply."), PermissionDenied("No.")])
async def test_a_failure_is_told_once_what_others_gave_is_handed_on(failure: StreamsError) -> None:
    consumer = consuming(failure)
    for _ in range(3):
        assert len(await consumer.consume(EVENTS, CONFIG, ">")) == 2
        with pytest.raises(type(failure)):
            await consumer.consume(EVENTS, CONFIG, ">")


async def test_whoever_is_given_what_others_have_need_not_hear_of_a_node_that_is_away() -> None:
    consumer = consuming(Unavailable("Away."))
    for _ in range(3):
        assert len(await consumer.consume(EVENTS, CONFIG, ">")) == 2
