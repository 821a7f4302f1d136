"""Go structs as encoding/json reads them: tables of members, with Go's rules for null, case and types.

GetFullConfig's bytes, the converted config's digest and what `inspect` shows all come from decoding a config
into such a struct; so which JSON is accepted, and what becomes of it, is a part of the behaviour to match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from wherry.errors import InvalidError

Decoder = Callable[[object, str], object]
"""Takes a JSON value that is not null and its path for errors; raises InvalidError."""


class Kind(NamedTuple):
    """A Go type: its name in errors, how a JSON value becomes one, and its zero value (what null leaves)."""

    name: str
    decode: Decoder
    zero: object = None


class Member(NamedTuple):
    """A struct's member. `omit_empty`: not written where it is false, 0, "", null or has no entries."""

    name: str
    kind: Kind
    omit_empty: bool = True


def _wrong(value: object, where: str, name: str) -> InvalidError:
    found = {bool: "bool", str: "string", list: "array", dict: "object"}.get(type(value), "number")
    if found == "number" and name in ("int", "int64", "time.Duration"):
        found = f"number {value}"
    return InvalidError(f"json: cannot unmarshal {found} into Go struct field {where} of type {name}")


def _plain(name: str, accepted: type, zero: object) -> Kind:
    def decode(value: object, where: str) -> object:
        if not isinstance(value, accepted) or (accepted is int and isinstance(value, bool)):
            raise _wrong(value, where, name)
        return value

    return Kind(name, decode, zero)


STRING = _plain("string", str, "")
BOOL = _plain("bool", bool, False)
INT = _plain("int", int, 0)
INT64 = _plain("int64", int, 0)
DURATION = _plain("time.Duration", int, 0)
INT_POINTER = INT._replace(zero=None)
DIGEST = _plain("digest.Digest", str, "")


def array(entry: Kind, name: str = "") -> Kind:
    """A slice: null leaves it nil, a null entry is the entry type's zero value."""
    shown = name or f"[]{entry.name}"

    def decode(value: object, where: str) -> object:
        if not isinstance(value, list):
            raise _wrong(value, where, shown)
        return [entry.zero if each is None else entry.decode(each, where) for each in value]

    return Kind(shown, decode)


STRINGS = array(STRING)
DIGESTS = array(DIGEST)


def _string_or_strings(value: object, where: str) -> object:
    """Docker's strslice: an array of strings, or one string."""
    return [value] if isinstance(value, str) else STRINGS.decode(value, where)


STRING_OR_STRINGS = Kind("strslice.StrSlice", _string_or_strings)


def _string_map(value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise _wrong(value, where, "map[string]string")
    return {key: "" if value[key] is None else STRING.decode(value[key], where) for key in sorted(value)}


def _string_set(value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise _wrong(value, where, "map[string]struct {}")
    for each in value.values():
        if each is not None and not isinstance(each, dict):
            raise _wrong(each, where, "struct {}")
    return {key: {} for key in sorted(value)}


STRING_MAP = Kind("map[string]string", _string_map)
STRING_SET = Kind("map[string]struct {}", _string_set)


def structure(name: str, members: tuple[Member, ...]) -> Kind:
    """A struct: decoded to a dict of all its members, in its order, with their zero values where absent."""
    by_folded_name = {member.name.casefold(): member for member in members}

    def decode(value: object, where: str) -> dict[str, object]:
        if not isinstance(value, dict):
            raise _wrong(value, where or name, name if where else f"v1.{name}")
        decoded = zero()
        for key, given in value.items():
            member = by_folded_name.get(key.casefold())
            if member is not None and given is not None:
                path = f"{where}.{member.name}" if where else f"{name}.{member.name}"
                decoded[member.name] = member.kind.decode(given, path)
        return decoded

    def zero() -> dict[str, object]:
        return {member.name: member.kind.zero for member in members}

    return Kind(name, decode, zero())


def encode(decoded: object, members: tuple[Member, ...]) -> dict[str, object]:
    """What json.Marshal writes of a decoded struct: its members in order, without the empty ones."""
    if not isinstance(decoded, Mapping):
        raise TypeError(decoded)
    return {
        member.name: decoded[member.name]
        for member in members
        if decoded[member.name] or not member.omit_empty
    }


_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(Z|[+-]([0-9]{2}):([0-9]{2}))"
)
ZERO_TIME = "0001-01-01T00:00:00Z"


def _time(value: object, where: str) -> str:
    """A time as Go writes it again: RFC 3339 with at most nanoseconds, no zeros at the end, UTC as Z."""
    if not isinstance(value, str):
        raise InvalidError("Time.UnmarshalJSON: input is not a JSON string")
    match = _TIME.fullmatch(value)
    if match is None or not _is_date(match):
        raise InvalidError(f"{where}: {value!r} is not a time in the form 2006-01-02T15:04:05Z07:00")
    fraction = (match[7] or "")[:9].rstrip("0")
    zone = "Z" if match[8] in ("Z", "+00:00", "-00:00") else match[8]
    return f"{value[:19]}{'.' if fraction else ''}{fraction}{zone}"


def _is_date(match: re.Match[str]) -> bool:
    year, month, day, hour, minute, second = (int(match[part]) for part in range(1, 7))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12:
        return False
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    zone_fits = int(match[9] or 0) < 24 and int(match[10] or 0) < 60
    return 1 <= day <= days and hour < 24 and minute < 60 and second < 60 and zone_fits


TIME = Kind("time.Time", _time, ZERO_TIME)
TIME_POINTER = TIME._replace(zero=None)
