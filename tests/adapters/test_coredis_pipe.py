"""How bytes reach the coredis driver on asyncio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream

from papyra_streams_adapters.coredis._pipe import Pipe

pytestmark = pytest.mark.asyncio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def piped(serve: Serve, take: Callable[[bytes], None]) -> AsyncIterator[Pipe]:
    """Return a pipe to a server, which is closed at the end."""
    serving: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await serve(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    pipe = Pipe(take)
    await asyncio.get_running_loop().create_connection(lambda: pipe, *server.sockets[0].getsockname()[:2])
    try:
        yield pipe
    finally:
        await pipe.aclose()
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Read to the end."""
    await reader.read()


async def hang_up(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Close at once."""


async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak something else."""
    writer.write(b"HTTP/1.1 400")
    await reader.read()


async def test_what_arrives_is_handed_over() -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await say_nothing(reader, writer)

    async with piped(echo, arrived.put_nowait) as pipe:
        pipe.write(b"hello")
        assert await asyncio.wait_for(arrived.get(), 5) == b"hello"


async def test_a_sender_waits_while_the_other_side_does_not_read() -> None:
    go_on = asyncio.Event()

    async def read_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await say_nothing(reader, writer)

    async with piped(read_later, lambda _: None) as pipe:
        sending = asyncio.create_task(pipe.send(b"x" * 50_000_000))
        done, _ = await asyncio.wait([sending], timeout=0.1)
        assert not done
        go_on.set()
        await asyncio.wait_for(sending, 20)


async def test_an_end_by_the_other_side_is_the_end() -> None:
    async with piped(hang_up, lambda _: None) as pipe:
        with pytest.raises(EndOfStream):
            await asyncio.wait_for(pipe.receive(), 5)

        assert pipe.is_closing
        with pytest.raises(ClosedResourceError):
            pipe.write(b"late")


async def test_what_cannot_be_understood_ends_the_connection() -> None:
    def take(_: bytes) -> None:
        raise ValueError("no such type")

    async with piped(answer_http, take) as pipe:
        with pytest.raises(BrokenResourceError) as caught:
            await asyncio.wait_for(pipe.receive(), 5)

        assert isinstance(caught.value.__cause__, ValueError)
        assert pipe.is_closing


async def test_one_that_never_connected_can_be_closed_and_takes_nothing() -> None:
    pipe = Pipe(lambda _: None)
    await pipe.aclose()

    assert pipe.is_closing
    with pytest.raises(ClosedResourceError):
        pipe.write(b"early")


async def test_closing_does_not_wait_for_what_is_unwritten() -> None:
    async def never_read(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with piped(never_read, lambda _: None) as pipe:
        pipe.write(b"x" * 50_000_000)
        async with asyncio.timeout(5):
            await pipe.aclose()
        with pytest.raises(EndOfStream):
            await pipe.receive()
