"""JSON that keeps the types of what a source knows: dates, decimals, bytes and tuples come back.

Whatever is read, nothing but values comes of it: no class is looked up and no code is run.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

# A value that JSON does not have is an object with one key, which begins with this; so no mapping
# with such a key of its own can be stored.
_MARK = "\0"
_INT64 = 2**63


def dumps(value: Any) -> bytes:
    """The value as JSON.

    Raises:
        TypeError: something in it would not come back as it is.
    """
    try:
        return orjson.dumps(_marked(value))
    except RecursionError:
        raise TypeError("nested too deeply") from None


def loads(content: bytes) -> Any:
    """What `dumps` was given.

    Raises:
        ValueError: it was not made by `dumps`.
    """
    try:
        return _plain(orjson.loads(content))
    except (ArithmeticError, KeyError, OSError, TypeError) as error:
        raise ValueError("not typed JSON") from error


def _marked(value: Any) -> Any:
    # The very types: a subclass, such as Markup or an enumeration, would come back as less.
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is dict or kind is MappingProxyType:
        return {_key(key): _marked(inner) for key, inner in value.items()}
    if kind is list:
        return [_marked(inner) for inner in value]
    if kind is int and -_INT64 <= value < _INT64:
        return value
    if kind is float and math.isfinite(value):
        return value
    name, write, _ = _KINDS.get(kind, _NO_KIND)
    return {f"{_MARK}{name}": write(value)}


def _key(key: Any) -> str:
    if type(key) is not str or key.startswith(_MARK):
        raise TypeError("a mapping is stored with texts as its keys only")
    return key


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        if len(value) == 1:
            ((key, inner),) = value.items()
            if key.startswith(_MARK):
                return _READ[key.removeprefix(_MARK)](inner)
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if kind is list else value


def _write_datetime(value: datetime) -> list[Any]:
    return [value.replace(tzinfo=None).isoformat(), value.fold, _write_zone(value)]


def _read_datetime(written: list[Any]) -> datetime:
    moment, fold, zone = written
    return datetime.fromisoformat(moment).replace(fold=fold, tzinfo=_read_zone(zone))


def _write_time(value: time) -> list[Any]:
    return [value.replace(tzinfo=None).isoformat(), value.fold, _write_zone(value)]


def _read_time(written: list[Any]) -> time:
    moment, fold, zone = written
    return time.fromisoformat(moment).replace(fold=fold, tzinfo=_read_zone(zone))


def _write_zone(value: datetime | time) -> str | list[int] | None:
    zone = value.tzinfo
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        if zone.tzname(None) == timezone(offset).tzname(None):
            return _write_timedelta(offset)
    raise TypeError("a time of a zone that has no name cannot be stored")


def _read_zone(written: str | list[int] | None) -> ZoneInfo | timezone | None:
    if written is None:
        return None
    return ZoneInfo(written) if isinstance(written, str) else timezone(timedelta(*written))


def _write_timedelta(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _refuse(value: Any) -> Any:
    raise TypeError(f"a {type(value).__name__} cannot be stored")


_NO_KIND: tuple[str, Callable[[Any], Any], Callable[[Any], Any]] = ("", _refuse, _refuse)

#: by type: its name, how it is written, and how it is read
_KINDS: Mapping[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = MappingProxyType(
    {
        # Hexadecimal, since Python refuses to read a decimal number of many digits.
        int: ("int", hex, lambda written: int(written, 16)),
        float: ("float", str, float),
        Decimal: ("decimal", str, Decimal),
        date: ("date", date.isoformat, date.fromisoformat),
        datetime: ("datetime", _write_datetime, _read_datetime),
        time: ("time", _write_time, _read_time),
        timedelta: ("timedelta", _write_timedelta, lambda written: timedelta(*written)),
        bytes: ("bytes", lambda value: b64encode(value).decode("ascii"), b64decode),
        UUID: ("uuid", str, UUID),
        tuple: (
            "tuple",
            lambda value: [_marked(inner) for inner in value],
            lambda written: tuple(map(_plain, written)),
        ),
    }
)

_READ: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {name: read for name, _, read in _KINDS.values()}
)
