"""Go structs as encoding/json reads them: tables of members, with Go's rules for null, case and types.

GetFullConfig's bytes, the converted config's digest and what `inspect` shows all come from decoding a config
into such a struct; so which JSON is accepted, and what becomes of it, is a part of the behaviour to match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from wherry.errors import InvalidError
from wherry.model.goquote import quote


class Place(NamedTuple):
    """Where a value stands, as Go's errors say it: the innermost struct's name and the path from the root."""

    struct: str
    path: str = ""


Decoder = Callable[[object, Place], object]
"""Takes a JSON value that is not null and its place for errors; raises InvalidError."""


class Kind(NamedTuple):
    """A Go type: its name in errors, how a JSON value becomes one, and its zero value (what null leaves)."""

    name: str
    decode: Decoder
    zero: object = None


class Member(NamedTuple):
    """A struct's member. `omit_empty`: not written where it is false, 0, "", null or has no entries;
    `embedded`: the embedded struct that it comes from, which Go's errors name."""

    name: str
    kind: Kind
    omit_empty: bool = True
    embedded: str = ""


def _wrong(value: object, where: Place, name: str) -> InvalidError:
    found = {bool: "bool", str: "string", list: "array", dict: "object"}.get(type(value), "number")
    if found == "number" and name in ("int", "int64", "time.Duration"):
        found = f"number {value}"
    target = f"struct field {where.struct}.{where.path}" if where.path else "value"
    return InvalidError(f"json: cannot unmarshal {found} into Go {target} of type {name}")


def _plain(name: str, accepted: type, zero: object) -> Kind:
    def decode(value: object, where: Place) -> object:
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

    def decode(value: object, where: Place) -> object:
        if not isinstance(value, list):
            raise _wrong(value, where, shown)
        return [entry.zero if each is None else entry.decode(each, where) for each in value]

    return Kind(shown, decode)


STRINGS = array(STRING)
DIGESTS = array(DIGEST)


def _string_or_strings(value: object, where: Place) -> object:
    """Docker's strslice: an array of strings, or one string."""
    return [value] if isinstance(value, str) else STRINGS.decode(value, where)


STRING_OR_STRINGS = Kind("strslice.StrSlice", _string_or_strings)


def _string_map(value: object, where: Place) -> object:
    if not isinstance(value, dict):
        raise _wrong(value, where, "map[string]string")
    return {key: "" if value[key] is None else STRING.decode(value[key], where) for key in sorted(value)}


def _string_set(value: object, where: Place) -> object:
    if not isinstance(value, dict):
        raise _wrong(value, where, "map[string]struct {}")
    for each in value.values():
        if each is not None and not isinstance(each, dict):
            raise _wrong(each, where, "struct {}")
    return {key: {} for key in sorted(value)}


STRING_MAP = Kind("map[string]string", _string_map)
STRING_SET = Kind("map[string]struct {}", _string_set)


def structure(name: str, members: tuple[Member, ...]) -> Kind:
    """A struct, by its qualified name (`v1.Image`): decoded to a dict of all its members, in its order, with
    their zero values where they are absent."""
    by_folded_name = {member.name.casefold(): member for member in members}
    short = name.rpartition(".")[2]

    def decode(value: object, where: Place) -> dict[str, object]:
        if not isinstance(value, dict):
            raise _wrong(value, where, name)
        decoded = zero()
        for key, given in value.items():
            member = by_folded_name.get(key.casefold())
            if member is not None and given is not None:
                parts = (where.path, member.embedded, member.name)
                place = Place(short, ".".join(part for part in parts if part))
                decoded[member.name] = member.kind.decode(given, place)
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


# One digit of the hour and a comma are not RFC 3339, but what Go's parser accepts.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T)([0-9]{1,2})(:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
ZERO_TIME = "0001-01-01T00:00:00Z"


def _time(value: object, where: Place) -> str:
    """A time as Go writes it again: RFC 3339 with at most nanoseconds, no zeros at the end, UTC as Z."""
    if not isinstance(value, str):
        raise InvalidError("Time.UnmarshalJSON: input is not a JSON string")
    match = _TIME.fullmatch(value)
    if match is None:
        raise InvalidError(f'parsing time {quote(value)} as "2006-01-02T15:04:05Z07:00" ({where.path})')
    day, hour, rest, fraction, sign, zone_hours, zone_minutes = match.groups()
    seconds = f"{day}{hour:0>2}{rest}"
    wrong = _out_of_range(seconds)
    if wrong:
        raise InvalidError(f"parsing time {quote(value)}: {wrong} out of range")
    fraction = (fraction or "")[:9].rstrip("0")
    zone = _zone(value, sign, int(zone_hours or 0), int(zone_minutes or 0))
    return f"{seconds}{'.' if fraction else ''}{fraction}{zone}"


def _zone(value: str, sign: str | None, hours: int, minutes: int) -> str:
    if hours > 24 or minutes > 60:
        raise InvalidError(
            f"parsing time {quote(value)}: time zone offset {'hour' if hours > 24 else 'minute'} out of range"
        )
    hours, minutes = divmod(60 * hours + minutes, 60)
    if hours > 23:
        raise InvalidError("Time.MarshalJSON: timezone hour outside of range [0,23]")
    return f"{sign}{hours:02}:{minutes:02}" if hours or minutes else "Z"


def _out_of_range(seconds: str) -> str:
    """The first part of `2006-01-02T15:04:05` that no calendar or clock has, or ""."""
    year, month, day, hour, minute, second = map(int, re.split("[-T:]", seconds))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    checks = (
        ("month", 1 <= month <= 12),
        ("hour", hour < 24),
        ("minute", minute < 60),
        ("second", second < 60),
        ("day", 1 <= day <= days[month - 1 if 1 <= month <= 12 else 0]),
    )
    return next((name for name, fits in checks if not fits), "")


TIME = Kind("time.Time", _time, ZERO_TIME)
TIME_POINTER = TIME._replace(zero=None)
