"""A worker needs no more memory for its last entries than for its first."""

import pytest

from .servers import PrivateServer
from .workers.arranging import all_finished
from .workers.fixtures import MakeCrew, Tell
from .workers.group import GroupOnServer
from .workers.recording import record_events

pytestmark = pytest.mark.asyncio(loop_scope="function")

_ENTRIES = 300_000
_MEGABYTE = 1024 * 1024


@pytest.mark.timeout(150)
async def test_memory_stays_flat_over_many_entries(
    private_server: PrivateServer, make_crew: MakeCrew, driver_name: str, tell: Tell
) -> None:
    await record_events(private_server.url, driver_name, _ENTRIES)
    group = GroupOnServer(private_server.endpoint)
    crew = make_crew(private_server, concurrency=500, keeps_ledger=False)
    crew.start()
    await all_finished(group, crew, within=120.0)
    (summary,) = await crew.end()
    early, late = (next(each for each in summary.memory if each.handled == count) for count in (100_000, _ENTRIES))
    blocks, megabytes = late.blocks - early.blocks, (late.peak_bytes - early.peak_bytes) / _MEGABYTE
    tell(f"from 100000 to {_ENTRIES} entries: {blocks} blocks and {megabytes:.1f} MB more")
    assert blocks < 20_000
    assert megabytes < 4
