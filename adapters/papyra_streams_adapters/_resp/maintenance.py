"""Taking entries out of a stream, and what stands against it."""

from collections.abc import Sequence

from papyra_streams.domain.entries import EntryId
from papyra_streams.ports import Abandonment, BadEntry, DanglingPage, Demands, MaintenancePort, TrimOutcome

from . import maintenance_replies, replies
from .client import RespPart
from .scripts import Script

# Each is looked up whole, whatever its size.
_REFERENCES_OF_A_STEP = 200


class RespMaintenance(RespPart, MaintenancePort):
    """Removes entries by scripts, so that each is in one place, and none is lost to a group."""

    async def retire(
        self, stream: str, bad: Sequence[BadEntry], *, quarantine: str | None, moment: float
    ) -> Sequence[EntryId]:
        keys = (stream, quarantine) if quarantine else (stream,)
        arguments = [word for entry in bad for word in (str(entry.id), entry.reason)]
        reply = await Script.named("retire").run(self._client, keys, (repr(moment), *arguments))
        return [replies.entry_id(each) for each in replies.items(reply)]

    async def trim(
        self,
        stream: str,
        *,
        keep_from: EntryId,
        approximate: bool,
        abandonment: Abandonment | None = None,
    ) -> TrimOutcome:
        keys, silence = _of_abandonment(stream, abandonment)
        arguments = (str(keep_from), "~" if approximate else "=", *silence)
        return maintenance_replies.trim_outcome(stream, await Script.named("trim").run(self._client, keys, arguments))

    async def demands(self, stream: str, *, abandonment: Abandonment | None = None) -> Demands:
        keys, silence = _of_abandonment(stream, abandonment)
        return maintenance_replies.demands(await Script.named("demands").run(self._client, keys, silence))

    async def dangling(self, stream: str, group: str, *, count: int, after: EntryId, forget: bool) -> DanglingPage:
        if after.successor() == after:
            return DanglingPage(ids=(), examined=0, last=None)
        arguments = (group, str(after.successor()), min(count, _REFERENCES_OF_A_STEP), int(forget))
        return maintenance_replies.dangling(await Script.named("dangling").run(self._client, (stream,), arguments))


def _of_abandonment(stream: str, abandonment: Abandonment | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return ((stream, abandonment.notes), (abandonment.after_ms,)) if abandonment else ((stream,), ())
