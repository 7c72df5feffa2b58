"""A living system on a private server, and waiting for what the server says of itself."""

from pathlib import Path
from typing import Any

from papyra_streams import RedisStreamsConfig, RedisStreamsPersistence, WritePolicy
from papyra_streams_contract.arranging import eventually
from papyra_streams_contract.wire import Wire

from .living import LivingSystem


def living_on(url: str, driver_name: str, spool_dir: Path | None, *, first: int = 0, **policy: Any) -> LivingSystem:
    """Make a living system whose backend is soon tired of waiting for a reply.

    :param first: the number of its first record
    :param policy: settings of the write policy
    """
    config = RedisStreamsConfig(
        url=url,
        driver=driver_name,
        connect_timeout=1.0,
        command_timeout=1.5,
        write_policy=WritePolicy(spool_dir=spool_dir, **policy),
    )
    return LivingSystem(RedisStreamsPersistence(config), first=first)


async def says(wire: Wire, section: str, words: str) -> None:
    """Wait until INFO has these words."""

    async def said() -> bool:
        return words in (await wire.text("INFO", section)).decode()

    await eventually(said, within=15.0)
