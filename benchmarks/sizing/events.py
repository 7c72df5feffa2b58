"""Events of several sizes."""

import time
from dataclasses import replace

from papyra.persistence.models import PersistedEvent

from benchmarks.events import SYSTEM, persisted

_DIFFERENT = 1000
_WITH_ONE, _OF_ONE = 330, 31


def smallest() -> list[PersistedEvent]:
    """Return events that say nothing but their type."""
    return [PersistedEvent(SYSTEM, f"{SYSTEM}:{number}", "Seen", {}, time.time()) for number in range(_DIFFERENT)]


def of_parcels(size: int) -> list[PersistedEvent]:
    """Return events of orders, with so many parcels each that they make about so many bytes."""
    parcels = max(1, 1 + (size - _WITH_ONE) // _OF_ONE)
    return [_with_parcels(event, number, parcels) for number, event in enumerate(persisted(_DIFFERENT))]


def _with_parcels(event: PersistedEvent, number: int, parcels: int) -> PersistedEvent:
    several = [
        {"weight": (number * 7 + each * 13) % 400 / 4, "shelf": f"B-{(number + each * 3) % 40:02}"}
        for each in range(parcels)
    ]
    return replace(event, payload={**event.payload, "parcels": several})
