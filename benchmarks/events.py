"""What is recorded: events of the size and shape that an actor system has."""

import time
from dataclasses import dataclass

from papyra.events import ActorEvent
from papyra.persistence.models import PersistedEvent

SYSTEM = "local"


@dataclass(frozen=True, slots=True)
class OrderShipped(ActorEvent):
    """An event that makes an entry of about 330 bytes."""

    order: int
    customer: str
    carrier: str
    tracking: str
    parcels: list[dict[str, object]]
    total: float
    express: bool
    note: str


def shipped(number: int) -> OrderShipped:
    """Return the event of one order."""
    return OrderShipped(
        address={"system": SYSTEM, "actor_id": 100 + number % 16},
        order=1_000_000 + number,
        customer=f"customer-{number % 997:05}",
        carrier="north-parcel",
        tracking=f"NP{number * 7919 % 10**12:012}",
        parcels=[{"weight": 1.25, "shelf": f"B-{number % 40:02}"}],
        total=19.9 + number % 90,
        express=number % 5 == 0,
        note="leave at the door",
    )


def persisted(count: int) -> list[PersistedEvent]:
    """Return events as the actor system hands them to its backend."""
    return [_persisted(shipped(number)) for number in range(count)]


def _persisted(event: OrderShipped) -> PersistedEvent:
    address = f"{event.address['system']}:{event.address['actor_id']}"
    return PersistedEvent(SYSTEM, address, type(event).__name__, event.payload, time.time())
