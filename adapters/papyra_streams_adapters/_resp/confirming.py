"""Whether the server did with a batch what a confirmation asks: the commands that wait for it, and their replies."""

from collections.abc import Iterable, Sequence

from papyra_streams.errors import Indeterminate, StreamsError, Unavailable
from papyra_streams.ports import Confirmation

from .client import Command, Reply


def waits(confirmation: Confirmation) -> list[Command]:
    """Return the commands that wait, for what their own connection wrote."""
    commands: list[Command] = []
    if confirmation.fsync:
        commands.append(("WAITAOF", 1, 0, confirmation.timeout_ms))
    if confirmation.replicas:
        commands.append(("WAIT", confirmation.replicas, confirmation.timeout_ms))
    return commands


def came(commands: Iterable[Command], replies: Iterable[Reply | StreamsError]) -> bool:
    """Tell whether each command that waits was told as many as it asked for.

    :raises Indeterminate: if an answer is missing, as when the server died meanwhile: what wrote the batch has run, but
        whoever takes that server's place may not have it
    """
    reached = [_reached(reply) for reply in replies]
    return all(count >= int(command[1]) for command, count in zip(commands, reached, strict=True))


def _reached(reply: Reply | StreamsError) -> int:
    if isinstance(reply, Unavailable | Indeterminate):
        raise Indeterminate(f"Nobody knows whether the records are confirmed: {reply}") from reply
    # WAITAOF answers how many synced here, then on replicas; WAIT answers how many replicas.
    first = reply[0] if isinstance(reply, Sequence) and not isinstance(reply, bytes) and reply else reply
    return first if isinstance(first, int) else -1
