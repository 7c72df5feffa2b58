"""Which node of a cluster has which keys (Redis Cluster specification, "Key distribution model" and "Hash tags")."""

from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, Self

from papyra_streams.endpoint import Endpoint

from .client import Argument, Reply
from .replies import items, number, pairs, text

_SLOTS = 16384


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """Take it from where a URL leads."""
        return cls(endpoint.host, endpoint.port)


@lru_cache(maxsize=4096)
def slot_of(key: Argument) -> int:
    """Return a key's slot: of its hash tag, if it has one that is not empty."""
    # binascii's CRC is the one of the specification: CRC16-CCITT (XMODEM).
    return crc_hqx(hashed(key if isinstance(key, bytes) else str(key).encode()), 0) % _SLOTS


def hashed(key: bytes) -> bytes:
    """Return the part of a key that says where it lies; in braces, it makes another key lie there as well."""
    _, opened, rest = key.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return tag if opened and closed and tag else key


class SlotMap:
    """Which node serves which slot, as one node has told, and as redirections have corrected."""

    def __init__(self, ranges: Iterable[tuple[int, int, Address]], replicas: Iterable[Address] = ()) -> None:
        """Take ranges of slots, first and last, and who serves them; and who may take over."""
        self._ranges = sorted(ranges)
        self.replicas = list(dict.fromkeys(replicas))
        self._firsts = [first for first, _, _ in self._ranges]
        self._moved: dict[int, Address] = {}

    @property
    def addresses(self) -> list[Address]:
        """Every node that serves a slot, once."""
        return list(dict.fromkeys([*(address for _, _, address in self._ranges), *self._moved.values()]))

    def address(self, slot: int) -> Address | None:
        """Return who serves a slot; None if nobody does."""
        if moved := self._moved.get(slot):
            return moved
        index = bisect_right(self._firsts, slot) - 1
        if index < 0 or slot > self._ranges[index][1]:
            return None
        return self._ranges[index][2]

    def move(self, slot: int, address: Address) -> None:
        """Note that another node serves a slot."""
        self._moved[slot] = address


def slot_map(reply: Reply, asked: Address) -> SlotMap:
    """Read what CLUSTER SLOTS says."""
    ranges: list[tuple[int, int, Address]] = []
    replicas: list[Address] = []
    for row in items(reply):
        first, last, *nodes = items(row)
        primary, *others = [_address(*items(node), asked=asked) for node in nodes]
        ranges.append((number(first), number(last), primary))
        replicas += others
    return SlotMap(ranges, replicas)


def _address(host: Reply, port: Reply, _id: Reply = None, facts: Reply = None, *_: Reply, asked: Address) -> Address:
    # One that is to be known by its name, and has none, tells its IP address beside.
    known = dict(pairs(facts)).get(b"ip") if host == b"?" else host
    # One that tells nothing is behind the same host, which may be a load balancer.
    return Address(text(known) if known else asked.host, number(port))
