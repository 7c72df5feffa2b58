"""Looking at what was given up, and putting it back or dropping it."""

from collections.abc import Sequence

from papyra_streams.domain.arguments import check_count
from papyra_streams.domain.entries import EntryId
from papyra_streams.domain.groups import RELEASED, QuarantinedEntry, ReplayReport
from papyra_streams.domain.identifiers import parse_ids
from papyra_streams.domain.keys import Keyspace
from papyra_streams.domain.kinds import Kind
from papyra_streams.domain.quarantine import quarantined
from papyra_streams.ports import QuarantinePort, Replayed

from .history import PAGE


class Quarantine:
    """Serves the quarantine of each kind: what a recovery moved there, and what groups gave up."""

    def __init__(self, store: QuarantinePort, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys

    async def entries(self, kind: Kind, *, limit: int | None, after: str | None) -> tuple[QuarantinedEntry, ...]:
        """Return the first ``limit`` entries after an id of the quarantine, oldest first."""
        if limit is not None:
            check_count("limit", limit)
        begin = EntryId(0, 0) if after is None else EntryId.parse(after)
        found: list[QuarantinedEntry] = []
        while limit is None or len(found) < limit:
            count = PAGE if limit is None else min(PAGE, limit - len(found))
            page = await self._store.quarantined(self._keys.quarantine(kind), count=count, after=begin)
            found += map(quarantined, page)
            if len(page) < count:
                break
            begin = page[-1].id
        return tuple(found)

    async def replay(self, kind: Kind, ids: Sequence[str]) -> ReplayReport:
        """Put entries back, each in a step of its own that takes it out of the quarantine."""
        pending: list[str] = []
        appended: dict[str, str] = {}
        missing: list[str] = []
        for each in dict.fromkeys(parse_ids(ids)):
            replayed = await self._replay(kind, each)
            if replayed is None:
                missing.append(str(each))
            elif replayed.how == "pending":
                pending.append(str(each))
            else:
                appended[str(each)] = str(replayed.id)
        return ReplayReport(pending=tuple(pending), appended=appended, missing=tuple(missing))

    async def _replay(self, kind: Kind, quarantined_id: EntryId) -> Replayed | None:
        stream, quarantine = self._keys.stream(kind), self._keys.quarantine(kind)
        # Which keys a step touches has to be known before it begins; an entry never changes, it only goes.
        page = await self._store.quarantined(quarantine, count=1, after=quarantined_id.predecessor())
        group = quarantined(page[0]).group if page and page[0].id == quarantined_id else ""
        state = self._keys.group(kind, "state", group) if group else None
        return await self._store.replay(stream, quarantine, quarantined_id, to=RELEASED, state=state)

    async def drop(self, kind: Kind, ids: Sequence[str]) -> int:
        """Remove entries from the quarantine for good; return how many there were."""
        wanted = list(dict.fromkeys(parse_ids(ids)))
        steps = [wanted[first : first + PAGE] for first in range(0, len(wanted), PAGE)]
        return sum([await self._store.drop(self._keys.quarantine(kind), step) for step in steps])
