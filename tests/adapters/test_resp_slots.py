"""Which node has which keys, as the Redis Cluster specification has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papyra_streams_adapters._resp.client import Reply
from papyra_streams_adapters._resp.errors import Redirected, server_error
from papyra_streams_adapters._resp.slots import Address, SlotMap, slot_map, slot_of

ONE, TWO = Address("10.0.0.1", 7000), Address("node-2.example", 7001)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        # The specification's own example, and what CLUSTER KEYSLOT of Redis 8.6 answered for the others.
        ("123456789", 12739),
        ("", 0),
        (b"papyra:local:events", 6897),
        ("papyra:local:quarantine:{papyra:local:events}", 6897),
        ("foo{bar}{zap}", 5061),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("foo{bar", 15278),
        ("Größe", 2599),
    ],
)
def test_a_key_has_the_slot_of_its_hash_tag(key: str | bytes, slot: int) -> None:
    assert slot_of(key) == slot


@given(st.text(), st.text())
def test_what_belongs_to_a_stream_has_the_streams_slot(stream: str, other: str) -> None:
    name = f"x{stream}".replace("{", "").replace("}", "")

    assert slot_of(f"{other.replace('{', '')}:{{{name}}}") == slot_of(name)


def test_a_map_tells_who_serves_a_slot() -> None:
    reply: Reply = [
        [0, 99, [b"10.0.0.1", 7000, b"id"], [b"10.0.0.9", 7009, b"replica"]],
        [200, 16383, [b"node-2.example", 7001]],
    ]
    known = slot_map(reply, Address("asked", 1))

    assert [known.address(slot) for slot in (0, 99, 100, 199, 200, 16383)] == [ONE, ONE, None, None, TWO, TWO]
    assert known.addresses == [ONE, TWO]
    assert known.replicas == [Address("10.0.0.9", 7009)]


@pytest.mark.parametrize(
    ("node", "host"),
    [
        ([None, 7000, b"id", [b"ip", b"10.0.0.1"]], "asked"),
        ([b"", 7000, b"id", []], "asked"),
        ([b"?", 7000, b"id", [b"hostname", b"", b"ip", b"10.0.0.1"]], "10.0.0.1"),
        ([b"?", 7000, b"id", {b"ip": b"2001:db8::7"}], "2001:db8::7"),
        ([b"?", 7000, b"id", [b"ip", b""]], "asked"),
        ([b"?", 7000], "asked"),
        ([b"node.example", 7000, b"id", [b"ip", b"10.0.0.1"]], "node.example"),
    ],
)
def test_a_node_that_tells_no_host_is_behind_the_one_that_was_asked_unless_its_ip_is_told(
    node: Reply, host: str
) -> None:
    assert slot_map([[0, 16383, node]], Address("asked", 1)).addresses == [Address(host, 7000)]


def test_a_slot_that_moved_is_elsewhere_at_once() -> None:
    known = SlotMap([(0, 16383, ONE)])
    known.move(5, TWO)

    assert [known.address(slot) for slot in (4, 5, 6)] == [ONE, TWO, ONE]
    assert known.addresses == [ONE, TWO]


def test_nobody_serves_a_slot_of_an_empty_map() -> None:
    assert SlotMap([]).address(5) is None
    assert SlotMap([]).addresses == []


@pytest.mark.parametrize(
    ("text", "address", "asks"),
    [
        ("MOVED 3999 127.0.0.1:6381", Address("127.0.0.1", 6381), False),
        ("ASK 3999 2001:db8::7:6381", Address("2001:db8::7", 6381), True),
        ("MOVED 3999 node.example:6381", Address("node.example", 6381), False),
        ("MOVED 3999 :6381", Address("asked", 6381), False),
        ("ASK 3999 :6381", Address("asked", 6381), True),
    ],
)
def test_a_redirection_says_where_to_go(text: str, address: Address, asks: bool) -> None:  # noqa: FBT001 -- a case
    error = server_error(text)

    assert isinstance(error, Redirected)
    assert "write redis+cluster://" in str(error)
    assert (error.slot, error.leads_to(Address("asked", 1)), error.asks) == (3999, address, asks)
