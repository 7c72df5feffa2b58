"""The steps that must be atomic: Lua from `papyra_streams/scripts`, sent whole only where the server lacks it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

from papyra_streams.errors import ScriptMissing

from .client import Argument, Reply, RespClient


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which servers know it."""

    source: bytes
    digest: str

    @classmethod
    @cache
    def named(cls, name: str) -> Self:
        """Load a script of this package."""
        source = files("papyra_streams").joinpath("scripts", f"{name}.lua").read_bytes()
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
