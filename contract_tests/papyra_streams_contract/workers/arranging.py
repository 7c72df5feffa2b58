"""Waiting for the group and its workers."""

import time
from typing import Any

from papyra_streams_contract.arranging import eventually

from .group import GroupOnServer
from .processes import Crew, WorkerProcess


async def all_finished(group: GroupOnServer, crew: Crew, *, within: float = 25.0) -> None:
    """Wait until every entry is acknowledged, while the workers live."""

    async def have() -> bool:
        assert crew.at_work
        return await group.has_finished()

    try:
        await eventually(have, within=within)
    except TimeoutError as error:
        error.add_note(f"{await group.standing()}\n{crew.workers[-1].log}")
        raise


async def start_another(crew: Crew, group: GroupOnServer, **given: Any) -> WorkerProcess:
    """Start a worker, and return once it is connected; the group need not be told of it yet."""
    before = await group.connections()
    (worker,) = crew.start(**given)

    async def has_connected() -> bool:
        return await group.connections() > before

    await eventually(has_connected)
    return worker


async def leases_renewed(group: GroupOnServer, worker: WorkerProcess) -> None:
    """Wait until a worker has just renewed the leases of all it holds."""

    async def have() -> bool:
        held = (time.monotonic_ns() - worker.handlings[-1].begun) / 1e9
        return await group.longest_idle() < min(held / 2, 0.1)

    await eventually(have)
