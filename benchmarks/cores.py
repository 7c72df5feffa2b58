"""Which core the server runs on and which one the client, so that neither takes the other's time."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """A core for the server and another for the client; None is whichever the system gives them."""

    server: int | None
    client: int | None


def choose() -> Cores:
    """Return the first and the last core there are; none where processes cannot be pinned, or there is but one."""
    usable = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    return Cores(server=usable[0], client=usable[-1]) if len(usable) > 1 else Cores(server=None, client=None)


@contextmanager
def on(core: int | None) -> Iterator[None]:
    """Pin this process, and every process it starts meanwhile for good; None pins nothing."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
