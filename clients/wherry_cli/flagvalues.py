"""Values of flags as Go reads them: strconv, time.ParseDuration, encoding/csv; and with their error texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from wherry.errors import InvalidError
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wherry_cli.flags import Kind

Value: TypeAlias = "bool | str | int | float | tuple[str, ...] | tuple[int, ...]"
"""Of a `duration` the seconds, as float."""

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
# A base prefix may be followed by an underscore; plain decimals and octals hold single ones between digits.
_INTEGER = re.compile(
    "([+-]?)(?:0[xX]((?:_?[0-9a-fA-F])+)|0[bB]((?:_?[01])+)|0[oO]?((?:_?[0-7])+)|(0|[1-9](?:_?[0-9])*))"
)
_BASES = {2: 16, 3: 2, 4: 8, 5: 10}
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]*)(\.[0-9]*)?([^0-9.]*)", re.DOTALL)


def parse_bool(text: str) -> bool:
    """`strconv.ParseBool`."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def parse_int(text: str) -> int:
    """`strconv.ParseInt(text, 0, 64)`: decimal, 0x, 0o, 0b, or octal by a leading zero."""
    return _integer("ParseInt", text, _INTEGER, -(1 << 63), (1 << 63) - 1)


def parse_uint(text: str) -> int:
    """`strconv.ParseUint(text, 0, 64)`: no sign."""
    if text.startswith(("+", "-")):
        raise InvalidError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    return _integer("ParseUint", text, _INTEGER, 0, (1 << 64) - 1)


def parse_ints(text: str) -> tuple[int, ...]:
    """Decimal numbers with commas between (`strconv.Atoi` of each)."""
    decimal = re.compile("([+-]?)()()()([0-9]+)")
    return tuple(_integer("Atoi", each, decimal, -(1 << 63), (1 << 63) - 1) for each in text.split(","))


def _integer(function: str, text: str, grammar: re.Pattern[str], least: int, most: int) -> int:
    found = grammar.fullmatch(text)
    if found is None:
        raise InvalidError(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    group = next(number for number in _BASES if found[number] is not None and found[number] != "")
    digits = found[group].replace("_", "")
    # Longer than any 64-bit number in any base: do not let Python's own limit on digits speak.
    number = 1 << 70 if len(digits.lstrip("0")) > 64 else int(digits, _BASES[group])
    if found[1] == "-":
        number = -number
    if not least <= number <= most:
        raise InvalidError(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return number


def parse_duration(text: str) -> float:
    """`time.ParseDuration`: `1m30s`, `300ms`, `-1.5h`; in seconds."""
    rest = text[1:] if text.startswith(("-", "+")) else text
    if rest == "0":
        return 0.0
    total = 0
    position = 0
    while position < len(rest) or not rest:
        found = _DURATION_PART.match(rest, position)
        if found is None or not (found[1] or (found[2] or "") > "."):
            raise InvalidError(f"time: invalid duration {_quote_duration(text)}")
        if not found[3]:
            raise InvalidError(f"time: missing unit in duration {_quote_duration(text)}")
        if found[3] not in _UNITS:
            unit = _quote_duration(found[3])
            raise InvalidError(f"time: unknown unit {unit} in duration {_quote_duration(text)}")
        total += _nanoseconds(found[1], (found[2] or ".")[1:], _UNITS[found[3]])
        position = found.end()
        # Go takes -2^63 ns, but no 2^63.
        if total > (1 << 63) - (not text.startswith("-")):
            raise InvalidError(f"time: invalid duration {_quote_duration(text)}")
    return (-total if text.startswith("-") else total) / 1e9


def _nanoseconds(whole: str, fraction: str, unit: int) -> int:
    if len(whole.lstrip("0")) > 20:
        return 1 << 64
    fraction = fraction[:18]
    return int(whole or "0") * unit + int(fraction.ljust(18, "0")) * unit // 10**18


def _quote_duration(text: str) -> str:
    """`time`'s own quoting: every byte that is not printable ASCII as `\\xNN`."""
    shown = []
    for byte in text.encode(errors="surrogateescape"):
        char = chr(byte)
        if byte >= 0x80 or byte < 0x20:
            shown.append(f"\\x{byte:02x}")
        else:
            shown.append(f"\\{char}" if char in '"\\' else char)
    return f'"{"".join(shown)}"'


def parse_strings(text: str) -> tuple[str, ...]:
    """One record of `encoding/csv`: commas between fields, fields with commas or quotes in quotes."""
    if text == "":
        return ()
    lines = text.replace("\r\n", "\n").split("\n")
    first = next((number for number, line in enumerate(lines) if line), None)
    if first is None:
        raise InvalidError("EOF")
    return tuple(_csv_fields("\n".join(lines[first:]), first + 1))


def _csv_fields(text: str, line: int) -> list[str]:
    fields: list[str] = []
    position = 0
    while True:
        if text[position : position + 1] == '"':
            field, position = _quoted_field(text, position, line)
        else:
            ends = (text.find(",", position), text.find("\n", position), len(text))
            end = min(index for index in ends if index >= 0)
            field, bare = text[position:end], text.find('"', position, end)
            if bare >= 0:
                raise _csv_error(line, _column(text, bare), 'bare " in non-quoted-field')
            if end == len(text):
                field = field.removesuffix("\r")
            position = end
        fields.append(field)
        if text[position : position + 1] != ",":
            return fields
        position += 1


def _quoted_field(text: str, position: int, first: int) -> tuple[str, int]:
    parts = []
    position += 1
    while True:
        end = text.find('"', position)
        if end < 0:
            line = first + text.count("\n")
            where = f"record on line {first}; " if line != first else ""
            column = _column(text, len(text))
            raise InvalidError(
                f'{where}parse error on line {line}, column {column}: extraneous or missing " in quoted-field'
            )
        parts.append(text[position:end])
        position = end + 1
        if text[position : position + 1] == '"':
            parts.append('"')
            position += 1
        elif text[position : position + 1] in ("", ",", "\n"):
            return "".join(parts), position
        else:
            raise _csv_error(first, _column(text, end), 'extraneous or missing " in quoted-field')


def _column(text: str, position: int) -> int:
    start = text.rfind("\n", 0, position) + 1
    return len(text[start:position].encode(errors="surrogateescape")) + 1


def _csv_error(line: int, column: int, problem: str) -> InvalidError:
    return InvalidError(f"parse error on line {line}, column {column}: {problem}")


PARSERS: Mapping[Kind, Callable[[str], Value]] = {
    "bool": parse_bool,
    "string": str,
    "strings": parse_strings,
    "int": parse_int,
    "uint": parse_uint,
    "ints": parse_ints,
    "duration": parse_duration,
}
