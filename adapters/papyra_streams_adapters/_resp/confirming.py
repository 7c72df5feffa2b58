"""Whether the server did with a batch what a confirmation asks: the commands that wait for it, and their replies."""

from collections.abc import Iterable, Sequence

from papyra_streams.errors import StreamsError
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
    """Tell whether each command that waits was told as many as it asked for."""
    return all(_reached(reply) >= int(command[1]) for command, reply in zip(commands, replies, strict=True))


def _reached(reply: Reply | StreamsError) -> int:
    # WAITAOF answers how many synced here, then on replicas; WAIT answers how many replicas.
    first = reply[0] if isinstance(reply, Sequence) and not isinstance(reply, bytes) and reply else reply
    return first if isinstance(first, int) else -1
