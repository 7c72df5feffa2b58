"""Records that travel together."""

import anyio

# One script call is one step for the server: bounded, so that nobody else waits for long.
MOST_RECORDS = 500
MOST_BYTES = 1024 * 1024


class Batch:
    """Records of one stream, in the order of the calls, and those who wait to hear what becomes of them."""

    __slots__ = ("_settled", "born", "first", "is_patient", "is_settled", "payloads", "size")

    def __init__(self, born: float) -> None:
        self.born = born
        self.first = 0
        self.payloads: list[bytes] = []
        self.size = 0
        # Whether all who wait for it would not mind to wait for company.
        self.is_patient = True
        self.is_settled = False
        # Made only when somebody waits: a lone caller sees to its batch itself.
        self._settled: anyio.Event | None = None

    def takes(self, payload: bytes, *, records: int, size: int) -> bool:
        """Tell whether one more record may join; whatever its size, one does, and none once the batch is numbered."""
        if self.first:
            return False
        return not self.payloads or (len(self.payloads) < records and self.size + len(payload) <= size)

    def add(self, payload: bytes) -> None:
        """Take one more record."""
        self.payloads.append(payload)
        self.size += len(payload)

    def settle(self) -> None:
        """Let those who wait go on: the records are stored, on disk, or counted as dropped."""
        self.is_settled = True
        if self._settled:
            self._settled.set()

    async def wait(self) -> None:
        """Wait until it is settled."""
        if self.is_settled:
            return
        if self._settled is None:
            self._settled = anyio.Event()
        await self._settled.wait()
