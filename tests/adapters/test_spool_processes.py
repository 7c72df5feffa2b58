"""The spool with real processes and real faults: shared, killed, without room, without the right to write."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from papyra_streams.ports.spool import SpoolPort
from papyra_streams_adapters.spool import spool as make_spool

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

LARGE = 1024**3
# An id that owns nothing.
NOBODY = 65534

# Each program is told the path of the spool, says what it does in lines, and goes on when it is told to.
_BEGINNING = """
import json, os, sys
from contextlib import aclosing
from pathlib import Path
import anyio
from papyra_streams.errors import SpoolCorrupt, SpoolFailed
from papyra_streams_adapters.spool import spool as make_spool

path = Path(sys.argv[1])

def say(word):
    print(json.dumps(word), flush=True)

async def told():
    await anyio.to_thread.run_sync(sys.stdin.readline)

async def with_spool(work):
    async with aclosing(make_spool(path, 1024**3)) as spool:
        await work(spool)

async def everything(spool):
    numbers = []
    while (page := await spool.oldest("s", records=1000, size=2**30)) is not None:
        for batch in page.batches:
            numbers += [int.from_bytes(payload[:8], "big") for payload in batch.payloads]
        await spool.remove("s", up_to=page.last_position)
    return numbers

def numbered(first, count):
    return [number.to_bytes(8, "big") + bytes(1000) for number in range(first, first + count)]
"""

_PUTTER = """
async def work(spool):
    first = int(sys.argv[3])
    await told()
    while not sys.argv[4] or first < int(sys.argv[4]):
        await spool.put("s", sys.argv[2], first, numbered(first, 7))
        first += 7
        say(first)
anyio.run(with_spool, work)
"""

_MAKER = """
async def work(spool):
    say("ready")
    await told()
    await spool.put("s", sys.argv[2], 0, numbered(0, 3))
    say(await spool.holds("s", sys.argv[2], up_to=0))
anyio.run(with_spool, work)
"""

_KEEPER = """
async def work(spool):
    await spool.put("s", "old", 0, numbered(0, 100))
    say("put")
    await told()
    await spool.put("s", "old", 100, numbered(100, 5))
    say(await spool.count("s"))
anyio.run(with_spool, work)
"""

_LEADER = """
async def work(spool):
    say(await spool.lead())
    await told()
anyio.run(with_spool, work)
"""

_CROWDED = """
import resource
ballast = path.with_name("ballast")

def make_disk_small():
    if sys.argv[2] == "disk":
        ballast.write_bytes(bytes(1_000_000))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))

def make_disk_large():
    if sys.argv[2] == "disk":
        ballast.unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

async def work(spool):
    await spool.put("s", "p", 0, numbered(0, 20))
    stored = 20
    make_disk_small()
    try:
        while True:
            await spool.put("s", "p", stored, numbered(stored, 20))
            stored += 20
    except SpoolFailed as error:
        say([type(error).__name__, str(error), stored, await spool.count("s")])
    page = await spool.oldest("s", records=15, size=2**30)
    try:
        await spool.remove("s", up_to=page.last_position)
    except SpoolFailed:
        pass
    rest = await spool.oldest("s", records=1, size=2**30)
    say([await spool.count("s"), rest.batches[0].first])
    make_disk_large()
    await spool.put("s", "p", stored, numbered(stored, 20))
    say([await spool.count("s"), await everything(spool)])
anyio.run(with_spool, work)
"""

_SELFISH = """
import shutil

async def work(spool):
    for size in (20, 1):
        try:
            while True:
                count = await spool.count("s")
                await spool.put("s", "p", count, numbered(count, size))
        except SpoolFailed:
            assert await spool.count("s") == count
    say([count, shutil.disk_usage(path.parent).free < 100_000])
    say([await everything(spool), shutil.disk_usage(path.parent).free])
    await spool.put("s", "p", 0, numbered(0, 20))
    say(await everything(spool))
anyio.run(with_spool, work)
"""

_POWERLESS = """
async def work(spool):
    await told()
    if os.geteuid() == 0:
        os.setegid(int(sys.argv[2]))
        os.seteuid(int(sys.argv[2]))
    page = await spool.oldest("s", records=3, size=2**30)
    failures = []
    for call in (lambda: spool.put("s", "p", 10, [b"x"]), lambda: spool.remove("s", up_to=page.last_position)):
        try:
            await call()
        except SpoolFailed as error:
            failures.append([type(error).__name__, str(error)])
    rest = await spool.oldest("s", records=1, size=1)
    say([failures, await spool.count("s"), rest.batches[0].first])
    await told()
    say(await spool.count("s"))
    if os.getuid() == 0:
        os.seteuid(0)
        os.setegid(0)
anyio.run(with_spool, work)
"""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outage" / "spool.sqlite"


@pytest.fixture
async def spool(path: Path) -> AsyncIterator[SpoolPort]:
    async with aclosing(make_spool(path, LARGE)) as made:
        yield made


@contextmanager
def running(program: str, path: Path, *arguments: str, within: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    command = [*within, sys.executable, "-c", _BEGINNING + program, str(path), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


async def numbers_of(spool: SpoolPort) -> dict[str, list[int]]:
    """Empty a spool, and return the numbers that each producer's records had, and hold."""
    numbers: dict[str, list[int]] = {}
    while (page := await spool.oldest("s", records=1000, size=2**30)) is not None:
        for batch in page.batches:
            found = [int.from_bytes(payload[:8], "big") for payload in batch.payloads]
            assert found == list(range(batch.first, batch.first + len(found)))
            numbers.setdefault(batch.producer, []).extend(found)
        await spool.remove("s", up_to=page.last_position)
    return numbers


# -- shared


async def test_processes_put_into_one_spool_while_another_empties_it(spool: SpoolPort, path: Path) -> None:
    with running(_PUTTER, path, "p", "0", "700") as one, running(_PUTTER, path, "q", "0", "700") as two:
        tell(one)
        tell(two)
        taken: dict[str, list[int]] = {}
        while any(len(taken.get(producer, [])) < 700 for producer in "pq"):
            for producer, numbers in (await numbers_of(spool)).items():
                taken.setdefault(producer, []).extend(numbers)

    assert taken == {"p": list(range(700)), "q": list(range(700))}


async def test_processes_that_make_the_file_at_once_make_one(spool: SpoolPort, path: Path) -> None:
    with (
        running(_MAKER, path, "p0") as a,
        running(_MAKER, path, "p1") as b,
        running(_MAKER, path, "p2") as c,
        running(_MAKER, path, "p3") as d,
    ):
        makers = (a, b, c, d)
        assert [hear(maker) for maker in makers] == ["ready"] * 4
        for maker in makers:
            tell(maker)
        assert [hear(maker) for maker in makers] == [True] * 4

    assert await numbers_of(spool) == {f"p{number}": [0, 1, 2] for number in range(4)}


async def test_a_spool_moved_away_from_under_a_process_leaves_the_new_one_alone(spool: SpoolPort, path: Path) -> None:
    with running(_KEEPER, path) as keeper:
        assert hear(keeper) == "put"
        # Its log, which belongs to it, stays where the new one's will be.
        path.rename(path.with_name("moved"))
        await spool.put("s", "new", 0, [number.to_bytes(8, "big") for number in range(10)])
        tell(keeper)
        assert hear(keeper) == 15
        assert keeper.wait() == 0

    assert await numbers_of(spool) == {"new": list(range(10)), "old": list(range(100, 105))}
    # Whoever wants the records of the old one needs its log.
    path.with_name("spool.sqlite-wal.old").rename(path.with_name("moved-wal"))
    async with aclosing(make_spool(path.with_name("moved"), LARGE)) as moved:
        assert await numbers_of(moved) == {"old": list(range(100))}


# -- killed


async def test_a_process_killed_while_it_puts_leaves_all_it_was_told_is_there(spool: SpoolPort, path: Path) -> None:
    first = 0
    for puts in (1, 5, 2, 20, 40):
        with running(_PUTTER, path, "p", str(first), "") as putter:
            tell(putter)
            heard = [hear(putter) for _ in range(puts)]
            putter.send_signal(signal.SIGKILL)
            assert putter.stdout is not None
            heard += [json.loads(line) for line in putter.stdout if line.endswith("\n")]
            putter.wait()
        first = await spool.count("s")
        # What was under way may be there or not, but whole.
        assert first in (heard[-1], heard[-1] + 7)

    assert await numbers_of(spool) == {"p": list(range(first))}


async def test_a_leader_that_is_killed_leads_no_more(spool: SpoolPort, path: Path) -> None:
    with running(_LEADER, path) as leader:
        assert hear(leader) is True
        assert not await spool.lead()
        leader.send_signal(signal.SIGKILL)
        leader.wait()

    assert await spool.lead()


async def test_a_leader_is_alone_among_processes(spool: SpoolPort, path: Path) -> None:
    assert await spool.lead()

    with running(_LEADER, path) as second:
        assert hear(second) is False


# -- without room


def _small_disk(directory: Path) -> tuple[str, ...]:
    """Return a command that runs another with a disk of twelve megabytes at a directory, seen by that one alone."""
    unshare = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "--map-root-user")
    mount = 'mount -t tmpfs -o size=12m none "$0" && exec "$@"'
    return (*unshare, "sh", "-c", mount, str(directory))


def _may_mount() -> bool:
    if sys.platform != "linux":
        return False
    with tempfile.TemporaryDirectory() as directory:
        return subprocess.run((*_small_disk(Path(directory)), "true"), check=False, capture_output=True).returncode == 0


needs_small_disk = pytest.mark.skipif(not _may_mount(), reason="may not mount a small disk")


@pytest.mark.parametrize("disk", [pytest.param("disk", marks=needs_small_disk), "limit"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_full_disk_is_survived(path: Path, disk: str) -> None:
    path.parent.mkdir()
    within = _small_disk(path.parent) if disk == "disk" else ()
    with running(_CROWDED, path, disk, within=within) as crowded:
        kind, words, stored, counted = hear(crowded)
        assert (kind, stored) == ("SpoolFailed", counted)
        assert stored >= 500
        assert f"{path} cannot be used for now: {'database or disk is full' if disk == 'disk' else 'disk I/O'}" in words
        # Whether it could be removed or not.
        assert hear(crowded) == [stored - 15, 15]
        # When there is room again.
        assert hear(crowded) == [stored + 5, list(range(15, stored + 20))]
        assert crowded.wait() == 0


@needs_small_disk
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_spool_that_filled_its_disk_can_be_emptied(path: Path) -> None:
    path.parent.mkdir()
    with running(_SELFISH, path, within=_small_disk(path.parent)) as selfish:
        stored, full = hear(selfish)
        assert full
        numbers, free = hear(selfish)
        assert numbers == list(range(stored))
        assert free > 11_000_000
        assert hear(selfish) == list(range(20))
        assert selfish.wait() == 0


# -- without the right to write


@pytest.fixture
def public() -> Iterator[Path]:
    """Make a directory that anybody may look into; only pytest's own user may look into tmp_path."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)
        os.chmod(directory, 0o700)


def _allow(directory: Path, *, files: int, itself: int) -> None:
    for file in directory.iterdir():
        file.chmod(files)
    directory.chmod(itself)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_spool_that_may_only_be_read_is_read(public: Path) -> None:
    path = public / "spool.sqlite"
    async with aclosing(make_spool(path, LARGE)) as spool:
        await spool.put("s", "p", 0, [b"x"] * 10)
        with running(_POWERLESS, path, str(NOBODY)) as powerless:
            _allow(public, files=0o444, itself=0o555)
            tell(powerless)
            failures, count, first = hear(powerless)
            assert [kind for kind, _ in failures] == ["SpoolFailed", "SpoolFailed"]
            assert all(f"{path} cannot be used for now: " in words and "readonly" in words for _, words in failures)
            # What it could not remove counts as removed for it, and for nobody else.
            assert (count, first, await spool.count("s")) == (7, 3, 10)

            _allow(public, files=0o666, itself=0o777)
            tell(powerless)
            assert hear(powerless) == 7
            assert await spool.count("s") == 7
            assert powerless.wait() == 0
