"""Every Python example in the documents runs, in order, against a real server."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from papyra_streams import drivers
from papyra_streams.endpoint import EmbeddedDirectory

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").glob("*.md"))]
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# An example that finds nothing to do would pass in silence: what must be true of each program's names when it has run.
OUTCOMES = {
    "README.md": (
        "len(events) > 0",
        "stop.is_set()",
        "len(items) > 1",
        "summary.count == len(items) - 1",
        "[entry.id for entry in claimed] == [item.id for item in items[1:]]",
    ),
    "writing.md": (
        "leftover.stats().spooled == 0",
        # The fourth may come when the spool is just empty, and then needs no place in it.
        "tryout.metrics.records_written == 4 and tryout.metrics.records_replayed in (3, 4)",
        "count == 2001",
        "backend.metrics.write_errors == 0",
        "backend.closed",
    ),
    "failover.md": ("is_confirmed",),
    "subscriptions.md": (
        "[line.endswith('attempt 2') for line in taken_over] == [True] * 3",
        "[entry.attempts for entry in given_up] == [BOOKS.max_deliveries]",
        "[entry.id for entry in given_up] == list(report.pending)",
        "delivery.attempt == 1",
        "second.returncode == 0",
        "sorted(sales) == [(actor, number) for actor in ('till-1', 'till-2') for number in range(3)]",
        "systems == {('shop', 'events'), ('warehouse', 'audits')}",
        "status.pending == 0",
    ),
    "partitions.md": (
        "len(newest) == 10",
        "{item.id.partition('@')[2] or '0' for item in items} == {'0', '1', '2', '3'}",
        "acknowledged == len(items) == 200",
        "len(everything) == 200",
    ),
    "consumer-groups.md": (
        "len(items) > 1",
        "summary.count == len(items) - 1",
        "[entry.id for entry in taken] == [item.id for item in items[1:]]",
    ),
}
PROGRAM = re.compile(r"\A# (\S+\.py)$", re.MULTILINE)
SECONDS_FOR_A_DOCUMENT = 30
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")


@pytest.fixture
def url() -> Iterator[str]:
    """Return the URL of a private server."""
    lease = drivers.embedded_servers().acquire(EmbeddedDirectory(path=None))
    yield str(lease.endpoint)
    lease.release()


def examples(document: Path) -> str:
    """Return all examples of a document as one program."""
    return "\n".join(EXAMPLE.findall(document.read_text(encoding="utf-8")))


def write_programs(document: Path, url: str, directory: Path) -> None:
    """Put the examples that begin with a file's name into that file, as their readers do."""
    for example in EXAMPLE.findall(document.read_text(encoding="utf-8")):
        if named := PROGRAM.match(example):
            path = directory / named[1]
            path.parent.mkdir(exist_ok=True)
            path.write_text(on_server(example, url), encoding="utf-8")


def on_server(example: str, url: str) -> str:
    return example.replace("redis://localhost:6379/0", url)


def test_every_outcome_is_of_a_document() -> None:
    assert OUTCOMES.keys() <= {document.name for document in DOCUMENTS}


def test_the_documents_have_examples() -> None:
    assert sum(bool(examples(document)) for document in DOCUMENTS) >= 5


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["redis", "valkey", "coredis"])
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if examples(each)], ids=lambda path: path.name)
async def test_the_examples_of_a_document_run(
    document: Path, driver: str, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAPYRA_STREAMS_DRIVER", driver)
    monkeypatch.chdir(tmp_path)
    write_programs(document, url, tmp_path)
    program = on_server(examples(document), url).replace("/var/lib/orders", str(tmp_path))
    code = compile(program, document.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "example"}
    try:
        with anyio.fail_after(SECONDS_FOR_A_DOCUMENT):
            await _run(code, names)
    finally:
        await _kill(value for value in names.values() if isinstance(value, Process))
    assert [claim for claim in OUTCOMES.get(document.name, ()) if not eval(claim, names)] == []


async def _run(code: CodeType, names: dict[str, Any]) -> None:
    result = FunctionType(code, names)()
    if inspect.isawaitable(result):
        await result


async def _kill(processes: Iterable[Process]) -> None:
    """End what an example that failed has left running."""
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.aclose()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
