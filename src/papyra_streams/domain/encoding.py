"""From a record to the bytes of an entry: always valid JSON, whatever the record holds.

The fallbacks are as wide as Papyra's own (a dataclass becomes an object, anything unknown its ``str``). A value JSON
has no words for becomes ``{"$repr": "..."}``: NaN, the infinities, text that UTF-8 cannot carry, what contains itself.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import orjson

from .arguments import is_number
from .kinds import Kind

MARKER = "$repr"
_DEEPEST = 200
# Python refuses to print longer integers: sys.int_info.default_max_str_digits is 4300.
_WIDEST_INTEGER_BITS = 14_000

_NEEDED = ("kind", "system_id", "timestamp")

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(kind: Kind, record: object, *, system_id: str, now: float) -> bytes:
    """Encode a Papyra model, a mapping with its fields, or anything else as a record of this kind.

    A record needs a system and a timestamp to be read again; where it has none, or none that is usable, it gets these.
    """
    try:
        row = _row(record)
        row["kind"] = kind.record
        row.setdefault("system_id", system_id)
        if not usable_timestamp(row.get("timestamp")):
            row["timestamp"] = now
        return _encode(row)
    except Exception:  # noqa: BLE001 -- iterating over anybody's object runs anybody's code; the fact is kept all the same
        shown = {MARKER: _printable(_repr(record))}
        return orjson.dumps({"kind": kind.record, "system_id": system_id, "timestamp": now, "payload": shown})


def _encode(row: Mapping[Any, Any]) -> bytes:
    try:
        encoded = orjson.dumps(row, default=_fallback, option=_OPTIONS)
    except (TypeError, RecursionError):
        return _encode_carefully(row)
    # orjson writes NaN and the infinities as null, so a null may be one of them.
    return _encode_carefully(row) if b"null" in encoded else encoded


def usable_timestamp(value: object) -> bool:
    """Tell whether a value is a real, finite number."""
    if type(value) is float:
        # Almost always, and asked of each record that is read.
        return math.isfinite(value)
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def _row(record: object) -> dict[Any, Any]:
    row: dict[Any, Any] = {"kind": ""}
    if is_dataclass(record) and not isinstance(record, type):
        row |= _fields(record)
    elif isinstance(record, Mapping):
        row |= record
    else:
        row["payload"] = record
    return row


def _fields(record: object) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _names_of_fields(type(record))}  # type: ignore[arg-type]  # every class is hashable


@lru_cache(maxsize=256)
def _names_of_fields(model: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(model))


def _fallback(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    # orjson knows the subclasses of int and str, but not those of float, such as numpy's float64.
    return float(value) if isinstance(value, float) else _text(value)


def _encode_carefully(row: Mapping[Any, Any]) -> bytes:
    plain = _plain(row, ())
    if "kind" not in plain:
        # Two names of its fields read the same in JSON; the fields that make it readable are to stay.
        plain = {name: _plain(row[name], ()) for name in _NEEDED} | {"payload": plain}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any, ancestors: tuple[int, ...]) -> Any:
    match value:
        case None | bool():
            return value
        case Enum():
            return _plain(value.value, ancestors)
        case int():
            number = int(value)
            return number if number.bit_length() <= _WIDEST_INTEGER_BITS else {MARKER: hex(number)}
        case float():
            return float(value) if math.isfinite(value) else {MARKER: repr(float(value))}
        case str():
            return _plain_text(str.__str__(value))
    if id(value) in ancestors or len(ancestors) > _DEEPEST:
        return {MARKER: _printable(_repr(value))}
    try:
        return _plain_inside(value, (*ancestors, id(value)))
    except Exception:  # noqa: BLE001 -- iterating over anybody's object runs anybody's code; what is around it is kept
        return {MARKER: _printable(_repr(value))}


def _plain_inside(value: Any, ancestors: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return _plain_mapping(value, ancestors)
    if isinstance(value, list | tuple):
        return [_plain(item, ancestors) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return _plain_mapping(_fields(value), ancestors)
    return _plain_text(_text(value))


def _plain_mapping(value: Mapping[Any, Any], ancestors: tuple[int, ...]) -> dict[str, Any]:
    plain = {_key(key): _plain(item, ancestors) for key, item in value.items()}
    # Two keys that read the same in JSON, such as 1 and "1", would lose one of the values.
    return plain if len(plain) == len(value) else {MARKER: _printable(_repr(value))}


def _key(key: object) -> str:
    if isinstance(key, str):
        return _printable(str.__str__(key))
    if isinstance(key, int) and key.bit_length() > _WIDEST_INTEGER_BITS:
        return hex(key)
    if key is None or isinstance(key, bool | int | float):
        # As json.dumps names them: null, true, 1, 1.5.
        return json.dumps(key)
    return _printable(_text(key))


def _plain_text(text: str) -> str | dict[str, str]:
    printable = _printable(text)
    return text if printable == text else {MARKER: repr(text)}


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 -- the payload is anybody's object, and its __str__ anybody's code
        return _repr(value)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 -- as above; RecursionError is one of them
        return object.__repr__(value)
