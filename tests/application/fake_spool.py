"""A spool in memory that keeps the port's promises, and fails as it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import anyio.lowlevel

from papyra_streams.errors import SpoolFailed
from papyra_streams.ports import SpooledBatch, SpooledPage, SpoolPort


@dataclass(frozen=True, slots=True)
class Row:
    """One record in it."""

    position: int
    stream: str
    producer: str
    number: int
    payload: bytes


class FakeSpool(SpoolPort):
    """A list. What several processes would do, a test does to ``rows``."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failure: SpoolFailed | None = None
        """Raised by whatever is asked, until it is taken away."""
        self.may_lead = True
        self.leads = False
        self.is_closed = False
        self._last = 0

    def leave(self, stream: str, producer: str, payloads: Sequence[bytes]) -> None:
        """Put what an earlier process would have left."""
        for number, payload in enumerate(payloads, start=1):
            self._last += 1
            self.rows.append(Row(self._last, stream, producer, number, payload))

    async def put(self, stream: str, producer: str, first: int, payloads: Sequence[bytes]) -> None:
        await anyio.lowlevel.checkpoint()
        self._fail()
        for number, payload in enumerate(payloads, start=first):
            self._last += 1
            self.rows.append(Row(self._last, stream, producer, number, payload))

    async def newest(self, stream: str) -> int:
        await anyio.lowlevel.checkpoint()
        return max((row.position for row in self._of(stream)), default=0)

    async def streams(self) -> Sequence[str]:
        await anyio.lowlevel.checkpoint()
        self._fail()
        return sorted({row.stream for row in self.rows})

    async def holds(self, stream: str, producer: str, *, up_to: int) -> bool:
        await anyio.lowlevel.checkpoint()
        return any(row.producer == producer or row.position <= up_to for row in self._of(stream))

    async def oldest(self, stream: str, *, records: int, size: int) -> SpooledPage | None:  # noqa: ARG002 -- no test here is about bytes
        await anyio.lowlevel.checkpoint()
        rows = self._of(stream)[:records]
        if not rows:
            return None
        batches: list[SpooledBatch] = []
        for producer in dict.fromkeys(row.producer for row in rows):
            own = [row for row in rows if row.producer == producer]
            # Numbers without a gap differ from their places by the same.
            for _, run in groupby(enumerate(own), key=lambda placed: placed[1].number - placed[0]):
                together = [row for _, row in run]
                payloads = [row.payload for row in together]
                batches.append(SpooledBatch(producer=producer, first=together[0].number, payloads=payloads))
        return SpooledPage(batches=batches, last_position=rows[-1].position)

    async def remove(self, stream: str, *, up_to: int) -> None:
        await anyio.lowlevel.checkpoint()
        self._fail()
        self.rows = [row for row in self.rows if row.stream != stream or row.position > up_to]

    async def count(self, stream: str) -> int:
        await anyio.lowlevel.checkpoint()
        return len(self._of(stream))

    async def lead(self) -> bool:
        await anyio.lowlevel.checkpoint()
        self._fail()
        self.leads = self.leads or self.may_lead
        return self.leads

    async def resign(self) -> None:
        self.leads = False

    async def aclose(self) -> None:
        self.is_closed = True

    def _of(self, stream: str) -> list[Row]:
        self._fail()
        return [row for row in self.rows if row.stream == stream]

    def _fail(self) -> None:
        if self.failure:
            raise self.failure
