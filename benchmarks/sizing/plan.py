"""What of the size is measured, once: it hardly differs from one run to the next."""

from collections.abc import Callable

from benchmarks.rounds import Found
from benchmarks.servers import RunningServer

from .beside import measure_keys, measure_pending
from .events import of_parcels, smallest
from .records import measure_records

SIZES = (100, 340, 1000, 10_000)
# Among how many records a size is averaged; the second row of them shows whether it depends on that.
COUNT, COUNT_OF_LARGE, LARGE = 100_000, 10_000, 10_000
COUNTS = (10_000, 100_000, 1_000_000)
USUAL = 340


async def measure(server: RunningServer, driver: str, say: Callable[[str], None]) -> Found:
    """Measure all of it with one driver; what is stored is the same with each.

    ``JSON``, ``used_memory``, ``MEMORY USAGE``, ``append-only file``, ``snapshot`` -- bytes for each record, pending
    entry or key: as it was written, by what the server's memory grew, by what it says of the key, and on disk
    """
    found: Found = {}
    sizes = [(size, COUNT_OF_LARGE if size >= LARGE else COUNT) for size in SIZES if size != USUAL]
    for size, count in [*sizes, *((USUAL, count) for count in COUNTS)]:
        say(f"{count:,} records of about {size} bytes")
        events = smallest() if size == SIZES[0] else of_parcels(size)
        found[f"record of about {size:,} bytes, of {count:,}"] = await measure_records(server, driver, events, count)
    say("what lies beside the records")
    found |= await measure_pending(server, driver, of_parcels(USUAL), COUNT)
    found |= await measure_keys(server, driver, of_parcels(USUAL))
    return found
