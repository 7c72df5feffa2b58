"""Making many objects at once without the garbage collector, which none of them is for yet."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector wait for the end of a short step that awaits nothing.

    It runs whenever some hundred more objects were made than freed, and what lives through that is gone through again
    in ever larger collections. The objects of a batch of entries all live, and they are free again soon after.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
