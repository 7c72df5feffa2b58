"""Commands as the bytes that go out."""

from enum import IntEnum, StrEnum
from typing import Any

import pytest

from papyra_streams.errors import InvalidValue
from papyra_streams_adapters._resp.packing import encoded, packed


class Word(StrEnum):
    """Text by another name."""

    PING = "PING"


class Number(IntEnum):
    """An integer by another name."""

    TWO = 2


def test_words_are_bytes_text_and_integers_and_what_is_derived_from_them() -> None:
    words = encoded((b"\x00\xff", "größe", -7, 2**60, Word.PING, Number.TWO))

    assert words == [b"\x00\xff", "größe".encode(), b"-7", b"1152921504606846976", b"PING", b"2"]


@pytest.mark.parametrize("word", [None, True, 1.5, bytearray(b"x"), "\ud800"], ids=repr)
def test_anything_else_is_refused(word: Any) -> None:
    with pytest.raises(InvalidValue):
        encoded(("SET", "a", word))


def test_commands_follow_each_other_with_every_words_length_in_bytes() -> None:
    commands = [encoded(("GET", "größe")), encoded(("SET", "a", b"\r\n"))]

    assert (
        packed(commands)
        == b"*2\r\n$3\r\nGET\r\n$7\r\ngr\xc3\xb6\xc3\x9fe\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n"
    )


def test_no_command_is_nothing() -> None:
    assert packed([]) == b""
