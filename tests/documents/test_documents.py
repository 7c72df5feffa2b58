"""Every Python example in the documents runs, in order, against a real server."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from papyra_streams import drivers
from papyra_streams.endpoint import EmbeddedDirectory

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").glob("*.md"))]
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# An example that finds nothing to do would pass in silence: what must be true of each program's names when it has run.
OUTCOMES = {
    "README.md": (
        "len(events) > 0",
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
    "consumer-groups.md": (
        "len(items) > 1",
        "summary.count == len(items) - 1",
        "[entry.id for entry in taken] == [item.id for item in items[1:]]",
    ),
}
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return the URL of a private server."""
    lease = drivers.embedded_servers().acquire(EmbeddedDirectory(path=None))
    yield str(lease.endpoint)
    lease.release()


def examples(document: Path) -> str:
    """Return all examples of a document as one program."""
    return "\n".join(EXAMPLE.findall(document.read_text(encoding="utf-8")))


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
    program = examples(document).replace("redis://localhost:6379/0", url).replace("/var/lib/orders", str(tmp_path))
    code = compile(program, document.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "example"}
    await _run(code, names)
    assert [claim for claim in OUTCOMES.get(document.name, ()) if not eval(claim, names)] == []


async def _run(code: CodeType, names: dict[str, Any]) -> None:
    result = FunctionType(code, names)()
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
