"""The demo's chapters, from the first actor to the last key removed."""

from contextlib import suppress

import anyio

from papyra_streams.errors import StreamsError

from .bakery import read_back, work_a_day
from .crew import share_the_work
from .damage import quarantine_damage
from .outage import survive_an_outage
from .service import keep_a_service_going
from .stage import Stage, staged
from .story import Story
from .tidying import compact

__all__ = ["Story", "play"]

_HASTE_SECONDS = 3.0


async def play(story: Story, *, url: str, driver: str | None, keep: bool) -> None:
    """Tell the whole story.

    :raises StreamsError: if it cannot be told to its end
    """
    async with staged(url, driver) as stage:
        try:
            await _introduce(story, stage)
            day = await work_a_day(story, stage)
            await read_back(story, stage, day)
            await share_the_work(story, stage, day)
            await keep_a_service_going(story, stage, day)
            await quarantine_damage(story, stage, day)
            await compact(story, stage, day)
            await survive_an_outage(story, stage)
        except BaseException:
            if not keep:
                await _remove_in_haste(stage)
            raise
        await (_keep(story, stage) if keep else _remove(story, stage))
    story.end()


async def _introduce(story: Story, stage: Stage) -> None:
    async with stage.backend() as backend:
        # The driver's own words if the server is away or does not let us in.
        await backend.list_events(limit=1)
    story.say(f"Driver {stage.settings.driver} on {await stage.server()} at {stage.endpoint}.")
    story.say(f"All keys begin with {stage.settings.prefix}: and are this run's own.")


async def _remove(story: Story, stage: Stage) -> None:
    story.chapter("The keys are removed")
    removed = await stage.remove_keys()
    if removed is None:
        story.say("The server holds many keys. Short-lived ones of the demo may be left; they expire within a week.")
        return
    story.say(f"{removed} keys are removed.")
    story.check("keys left", await stage.remaining_keys(), 0)


async def _keep(story: Story, stage: Stage) -> None:
    story.chapter("The keys stay")
    story.say(
        f"Have a look at the keys that begin with {stage.settings.prefix}: on {stage.endpoint}. To remove them later:"
    )
    story.say(f"redis-cli --scan --pattern '{stage.settings.prefix}:*' | xargs redis-cli unlink")


async def _remove_in_haste(stage: Stage) -> None:
    # The error that is on its way out matters more than a key that is left.
    with anyio.move_on_after(_HASTE_SECONDS, shield=True), suppress(StreamsError):
        await stage.remove_keys()
