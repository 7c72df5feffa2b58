"""What many tests do before and after the one thing each is about."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from papyra_streams.domain.entries import Entry, EntryId
from papyra_streams.ports import Abandonment, Delivered, Member, ProducerMark, Settled, StreamStore, TrimOutcome

from .wire import Wire


def mark(stream: str, first: int, *, producer: str = "one") -> ProducerMark:
    """Mark a batch of a producer of this stream, by the number of its first record."""
    return ProducerMark(key=f"mark-{producer}:{{{stream}}}", first=first, lifetime=60)


async def fill(wire: Wire, stream: str, count: int) -> list[EntryId]:
    """Add entries with the ids 1-0, 2-0 and so on, each of which holds its number."""
    ids = [EntryId(number, 0) for number in range(1, count + 1)]
    for each in ids:
        await wire("XADD", stream, str(each), "data", each.milliseconds)
    return ids


async def age(wire: Wire, stream: str, group: str, ids: Iterable[EntryId]) -> None:
    """Let pending entries look as if nobody had touched them for an hour."""
    for each in ids:
        await wire("XCLAIM", stream, group, "departed", 0, str(each), "IDLE", 3_600_000, "JUSTID")


async def trim_all(
    store: StreamStore,
    stream: str,
    *,
    keep_from: EntryId,
    approximate: bool = False,
    abandonment: Abandonment | None = None,
) -> TrimOutcome:
    """Trim step by step to the end, and return what all steps came to."""
    removed, abandoned = 0, frozenset[str]()
    while True:
        step = await store.trim(stream, keep_from=keep_from, approximate=approximate, abandonment=abandonment)
        removed += step.removed
        abandoned |= step.abandoned
        if not step.is_unfinished:
            return replace(step, removed=removed, abandoned=abandoned)


async def stored(wire: Wire, stream: str) -> list[EntryId]:
    """Return the ids of all entries of a stream."""
    rows = await wire.rows("XRANGE", stream, "-", "+")
    return [EntryId.parse(row[0].decode()) for row in rows if isinstance(row, list) and isinstance(row[0], bytes)]


async def fields_of(wire: Wire, stream: str) -> list[list[bytes]]:
    """Return the names and values of each entry of a stream, in the order the server keeps them."""
    rows = await wire.rows("XRANGE", stream, "-", "+")
    return [
        [word for word in row[1] if isinstance(word, bytes)]
        for row in rows
        if isinstance(row, list) and isinstance(row[1], list)
    ]


def identifiers(entries: Iterable[Entry]) -> list[EntryId]:
    """Return the ids of entries."""
    return [entry.id for entry in entries]


def payloads(entries: Iterable[Entry]) -> list[bytes]:
    """Return what was appended, from entries that are still there."""
    return [entry.fields[b"data"] for entry in entries if entry.fields is not None]


def member(stream: str, consumer: str = "me", *, group: str = "workers") -> Member:
    """Name a consumer of a group, and the keys that the group has beside the stream."""
    beside = stream if "{" in stream else f"{{{stream}}}"
    state, pause, leader = (f"{part}:{beside}:{group}" for part in ("state", "pause", "leader"))
    return Member(stream=stream, group=group, consumer=consumer, state=state, pause=pause, leader=leader)


def named(one: Member, consumer: str) -> Member:
    """Name another consumer of the same group."""
    return replace(one, consumer=consumer)


async def join(store: StreamStore, one: Member, *, start: str = "0") -> None:
    """Join a group that nobody lost."""
    await store.join(one, start=start, on_loss="resume", expected=False)


async def holding(store: StreamStore, wire: Wire, one: Member, count: int) -> list[EntryId]:
    """Fill the stream, join the group, and have all that there is given to the consumer."""
    ids = await fill(wire, one.stream, count)
    await join(store, one)
    await store.take([one], count=count)
    return ids


async def crowd(store: StreamStore, wire: Wire, one: Member, count: int) -> list[EntryId]:
    """Have a consumer hold many entries."""
    for first in range(1, count + 1, 5000):
        script = "for i = ARGV[1], ARGV[2] do redis.call('XADD', KEYS[1], i .. '-0', 'data', i) end"
        await wire("EVAL", script, 1, one.stream, first, min(first + 4999, count))
    await join(store, one)
    await wire("XREADGROUP", "GROUP", one.group, one.consumer, "COUNT", count, "STREAMS", one.stream, ">")
    return [EntryId(number, 0) for number in range(1, count + 1)]


async def pending_rows(wire: Wire, one: Member) -> dict[EntryId, tuple[str, int]]:
    """Return the group's pending list, as the server keeps it: whose each entry is, and how often it was delivered."""
    rows: dict[EntryId, tuple[str, int]] = {}
    for row in await wire.rows("XPENDING", one.stream, one.group, "-", "+", 100_000):
        match row:
            case [bytes(identifier), bytes(consumer), _, int(deliveries)]:
                rows[EntryId.parse(identifier.decode())] = consumer.decode(), deliveries
    return rows


async def finished(wire: Wire, one: Member) -> EntryId | None:
    """Return up to which entry the group is known to have finished."""
    saved = await wire("HGET", one.state, "finished")
    return EntryId.parse(saved.decode()) if isinstance(saved, bytes) else None


def given(deliveries: Iterable[Delivered]) -> list[EntryId]:
    """Return the ids of what was delivered."""
    return [each.entry.id for each in deliveries]


def told(settled: Settled) -> tuple[list[EntryId], list[EntryId], list[EntryId]]:
    """Return which entries were done, gone and taken, each in order."""
    return sorted(settled.done), sorted(settled.gone), sorted(settled.taken)


async def others(wire: Wire) -> int:
    """Count who else is connected to the server, but for Sentinels."""
    clients = (await wire.text("CLIENT", "LIST")).splitlines()
    return sum(b" name=sentinel-" not in each for each in clients) - 1


async def eventually(holds: Callable[[], Awaitable[bool]], *, within: float = 5.0) -> None:
    """Wait until a condition holds.

    :raises TimeoutError: if it does not in time
    """
    async with asyncio.timeout(within):
        while not await holds():
            await asyncio.sleep(0.01)
