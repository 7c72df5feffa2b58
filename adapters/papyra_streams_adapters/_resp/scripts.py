"""The steps that must be atomic: Lua from `papyra_streams/scripts`, sent whole where the server may lack it."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

from papyra_streams.errors import ScriptMissing, StreamsError

from .client import Argument, Command, Reply, RespClient

_WITH = re.compile(r"^-- with: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which servers know it."""

    source: bytes
    digest: str

    @classmethod
    @cache
    def named(cls, name: str) -> Self:
        """Load a script of this package, after what it has in common with others: ``-- with: ids`` asks for that."""
        source = "\n".join(_sources(f"{name}.lua").values()).encode()
        # The servers' EVALSHA defines the digest; nothing is secured by it.
        return cls(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())

    async def run(self, client: RespClient, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        """Run it in one round trip, or in two where the server does not have it yet."""
        words = (len(keys), *keys, *arguments)
        positions = range(3, 3 + len(keys))
        try:
            return await client.call("EVALSHA", self.digest, *words, keys=positions)
        except ScriptMissing:
            return await client.call("EVAL", self.source, *words, keys=positions)

    async def run_before(
        self,
        client: RespClient,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        commands: Sequence[Command],
        *,
        timeout: float,
    ) -> tuple[Reply, list[Reply | StreamsError]]:
        """Run it, and commands after it, in one round trip on one connection; return its reply and theirs.

        It is sent whole each time: where the server lacked it, the commands would run without it.

        :param timeout: for how many seconds the server may hold the commands' replies back
        :raises StreamsError: what the script came to; the commands' errors stand in their places
        """
        words = (len(keys), *keys, *arguments)
        positions = range(3, 3 + len(keys))
        reply, *others = await client.batch([("EVAL", self.source, *words), *commands], keys=positions, timeout=timeout)
        if isinstance(reply, StreamsError):
            raise reply
        return reply, others


def _sources(path: str) -> dict[str, str]:
    """Return a file and, before it, each file it needs, once."""
    source = files("papyra_streams").joinpath("scripts", path).read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for needed in _WITH.findall(source):
        found |= _sources(f"shared/{needed}.lua")
    return found | {path: source}
