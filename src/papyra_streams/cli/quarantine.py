"""``papyra-streams quarantine``: what was given up is looked at, put back or dropped."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from papyra_streams.domain.groups import QuarantinedEntry
from papyra_streams.domain.identifiers import parse_ids
from papyra_streams.domain.kinds import StreamKind, kind_named
from papyra_streams.errors import InvalidValue, Rejected, UnknownKind
from papyra_streams.persistence import RedisStreamsPersistence

from .printing import escaped, moment, one_line, say, table
from .running import on_backend

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at what was given up, put it back, or drop it. Exit status of all: 0 done, 1 not for each id, 2 failed.",
)

_NOT_ALL = 1
_STANDARD = Path("-")


def _kind(name: str) -> StreamKind:
    try:
        return kind_named(name).stream
    except UnknownKind as error:
        raise typer.BadParameter(str(error)) from None


_KindArgument = Annotated[
    StreamKind, typer.Argument(parser=_kind, metavar="KIND", help="events, audits or dead_letters")
]
_Id = Annotated[str, typer.Argument(metavar="ID", help="Its id in the quarantine.")]
_Ids = Annotated[list[str], typer.Argument(metavar="ID", help="Their ids in the quarantine.")]


@app.command("list")
@on_backend
async def list_(
    backend: RedisStreamsPersistence,
    *,
    kind: _KindArgument,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    after: Annotated[str | None, typer.Option(help="Only those behind this id.", show_default=False)] = None,
) -> int:
    """List what is in quarantine, oldest first; times are UTC."""
    entries = await backend.quarantine_list(kind=kind, limit=limit, after=after)
    if not entries:
        say(f"Nothing of {kind} is in quarantine{' behind ' + after if after else ''}.")
        return 0
    table(("id", "since", "its id in the stream", "reason", "group", "attempts", "error"), map(_row, entries))
    if len(entries) == limit:
        say("", f"There may be more: --after {entries[-1].id}")
    return 0


def _row(entry: QuarantinedEntry) -> tuple[object, ...]:
    since, attempts = moment(entry.quarantined_at), entry.attempts or None
    return entry.id, since, entry.source_id, entry.reason, entry.group or None, attempts, entry.error or None


@app.command()
@on_backend
async def show(
    backend: RedisStreamsPersistence,
    *,
    kind: _KindArgument,
    id: _Id,  # noqa: A002 -- an entry has no other name
    data: Annotated[
        bool, typer.Option("--data", help="Print the content of its field data, and nothing else.")
    ] = False,
) -> int:
    r"""Show an entry: why it was given up, and its fields. Bytes that are no text are escaped, as in \xff.

    `show --data` and `replay --data` belong together: print it into a file, mend it there, and put it back.
    """
    entry = await backend.quarantine_show(kind=kind, id=id)
    if entry is None:
        return _not_there(kind, id)
    if not data:
        _tell(entry)
    elif entry.data is None:
        typer.echo(f"{id} has no field data", err=True)
        return _NOT_ALL
    else:
        with _opened(_STANDARD) as out:
            out.write(entry.data)
    return 0


def _tell(entry: QuarantinedEntry) -> None:
    given_up = {
        "id": entry.id,
        "stream": entry.stream,
        "id in the stream": entry.source_id,
        "reason": entry.reason,
        "since": moment(entry.quarantined_at),
        "group": entry.group,
        "attempts": entry.attempts,
        "error": entry.error,
    }
    say(*(f"{name}: {one_line(str(value))}" for name, value in given_up.items() if value))
    for name, value in entry.fields:
        shown, is_escaped = escaped(value)
        say("", f"field {escaped(name)[0]} ({len(value):,} bytes{', escaped' if is_escaped else ''}):", shown)


@app.command()
@on_backend
async def replay(
    backend: RedisStreamsPersistence,
    *,
    kind: _KindArgument,
    ids: _Ids,
    data: Annotated[
        Path | None,
        typer.Option(
            help="For one id: a file with the new content of its field data, - for standard input.", show_default=False
        ),
    ] = None,
) -> int:
    """Put entries back, one after another, and out of the quarantine.

    The group that gave an entry up gets it again. What a recovery moved there is appended anew; without --data a scan
    finds it again.
    """
    wanted = _parsed(backend, kind, ids)
    if data is not None and len(wanted) != 1:
        raise InvalidValue("--data is the new content of one entry, so give exactly one id.")
    content = None if data is None else _read(data)
    return max([await _replay(backend, kind, each, content) for each in wanted])


async def _replay(backend: RedisStreamsPersistence, kind: StreamKind, wanted: str, content: bytes | None) -> int:
    try:
        report = await backend.quarantine_replay(kind=kind, ids=[wanted], mend=lambda _: content)
    except Rejected as error:
        typer.echo(f"{wanted} stays in quarantine: {one_line(str(error))}", err=True)
        return _NOT_ALL
    if report.missing:
        return _not_there(kind, wanted)
    if new_id := report.appended.get(wanted):
        say(f"{wanted} is appended anew, as {new_id}")
    else:
        say(f"{wanted} is pending for its group again")
    return 0


@app.command()
@on_backend
async def drop(
    backend: RedisStreamsPersistence,
    *,
    kind: _KindArgument,
    ids: _Ids,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Remove entries from the quarantine for good. It asks before it does."""
    wanted = _parsed(backend, kind, ids)
    if not yes:
        typer.confirm(f"Remove {', '.join(wanted)} of {kind} for good?", abort=True, err=True)
    return max([await _drop(backend, kind, each) for each in wanted])


async def _drop(backend: RedisStreamsPersistence, kind: StreamKind, wanted: str) -> int:
    if not await backend.quarantine_drop(kind=kind, ids=[wanted]):
        return _not_there(kind, wanted)
    say(f"{wanted} is dropped")
    return 0


@app.command()
@on_backend
async def export(
    backend: RedisStreamsPersistence,
    *,
    kind: _KindArgument,
    to: Annotated[Path, typer.Option(help="A file, which is overwritten; - for standard output.")] = _STANDARD,
) -> int:
    """Write all that is in quarantine as JSON, a line for each entry, oldest first. Nothing is removed."""
    with _opened(to) as file:
        count = await backend.quarantine_export(kind=kind, to=file)
    typer.echo(f"entries written: {count:,}", err=True)
    return 0


def _parsed(backend: RedisStreamsPersistence, kind: StreamKind, ids: list[str]) -> list[str]:
    partitions = backend.config.keyspace().partitions_of(kind_named(kind))
    return [str(each) for each in dict.fromkeys(parse_ids(ids, partitions))]


def _not_there(kind: StreamKind, wanted: str) -> int:
    typer.echo(f"{wanted} of {kind} is not in quarantine", err=True)
    return _NOT_ALL


def _read(path: Path) -> bytes:
    content = sys.stdin.buffer.read() if path == _STANDARD else path.read_bytes()
    # Every editor ends a file with a line break.
    return content.rstrip(b"\r\n")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path == _STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():
        # A device or a pipe is nothing to be replaced.
        with path.open("wb") as file:
            yield file
        return
    # A file that is there should outlive a server that goes away.
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
