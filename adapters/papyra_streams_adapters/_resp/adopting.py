"""Clients that users have built, of which only the settings are taken over."""

from collections.abc import Collection
from typing import Any

from papyra_streams.errors import InvalidValue


def check_comes_with(libraries: Collection[str], part: Any, *, does: str) -> None:
    """Refuse a part of a client that is not its library's: nobody knows where, or as whom, it connects.

    :param does: what the part does, as in "connects with"
    """
    if part.__module__.partition(".")[0] not in libraries:
        # Not its repr, which may hold a password.
        name = getattr(part, "__qualname__", type(part).__qualname__)
        raise InvalidValue(f"`client` {does} {name}, which cannot be followed: use `url` and `credentials`.")
