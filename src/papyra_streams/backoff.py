"""How long to wait before trying again."""

import random
from collections.abc import Iterator

_GROWTH = 2


def delays(first: float, limit: float) -> Iterator[float]:
    """Return the seconds to wait before each further attempt, without end.

    A random part of up to a half is left out, which keeps many clients from coming at once.
    """
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1)  # noqa: S311 -- nothing is secured by it
        delay = min(delay * _GROWTH, limit)
