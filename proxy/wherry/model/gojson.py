"""JSON as Go's encoding/json writes it, byte for byte: what skopeo prints and what it computes digests of.

Compact or indented, `<`, `>`, `&`, U+2028 and U+2029 escaped, the order of keys kept (Go structs); objects
that are maps in Go go through `sort_maps` first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from json.encoder import JSONEncoder
from json.encoder import encode_basestring as _quote
from typing import TYPE_CHECKING

from wherry.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPED = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_SPECIAL = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_PLAIN = frozenset({str, int, bool, type(None)})
_encode = JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def dumps(value: object) -> bytes:
    """`json.Marshal(value)`: compact, no newline at the end.

    `value`: dict (str keys), list, tuple, str, int, float, bool or None, nested.
    """
    if _is_plain(value):
        # The interpreter's own encoder agrees with Go's on everything but floats and what _SPECIAL finds.
        text = _encode(value)
        return (_SPECIAL.sub(_escape, text) if _SPECIAL.search(text) else text).encode()
    return "".join(_tokens(value, None, "")).encode()


def _is_plain(value: object) -> bool:
    """Whether there are only dicts with str keys, lists, tuples, str, int, bool and None in it."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_plain(member) for key, member in value.items())  # type: ignore[attr-defined]
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return kind in _PLAIN


def dumps_indent(value: object, indent: str = "    ") -> str:
    """`json.MarshalIndent(value, "", indent)`: empty arrays and objects stay `[]` and `{}`; no newline at
    the end."""
    return "".join(_tokens(value, indent, "\n"))


def sort_maps(value: object) -> object:
    """The same value with the keys of every object sorted, as Go writes maps."""
    if isinstance(value, Mapping):
        return {key: sort_maps(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [sort_maps(item) for item in value]
    return value


def quote(text: str) -> str:
    """One JSON string, quotes included."""
    return _SPECIAL.sub(_escape, _quote(text))


def _escape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[0], "\\ufffd")


def _tokens(value: object, indent: str | None, newline: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        pairs = ((f"{quote(key)}:{'' if indent is None else ' '}", member) for key, member in value.items())
        yield from _members("{", "}", pairs, indent, newline)
    elif isinstance(value, (list, tuple)):
        yield from _members("[", "]", (("", item) for item in value), indent, newline)
    else:
        yield _scalar(value)


def _members(
    opening: str, closing: str, members: Iterator[tuple[str, object]], indent: str | None, newline: str
) -> Iterator[str]:
    inner = "" if indent is None else newline + indent
    separator = opening
    for label, member in members:
        yield separator + inner + label
        yield from _tokens(member, indent, inner)
        separator = ","
    yield opening + closing if separator == opening else newline + closing


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case True:
            return "true"
        case False:
            return "false"
        case str():
            return quote(value)
        case int():
            return str(value)
        case float():
            return _float(value)
        case _:
            raise InternalError(f"json: unsupported type: {type(value).__name__}")


def _float(number: float) -> str:
    """The shortest text that reads back as the same float64, in Go's choice of notation."""
    if not math.isfinite(number):
        raise InternalError(f"json: unsupported value: {number}")
    sign, digits, point = _decimal(number)
    if number == 0:
        return f"{sign}0"
    if 1e-6 <= abs(number) < 1e21:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        if point >= len(digits):
            return sign + digits + "0" * (point - len(digits))
        return f"{sign}{digits[:point]}.{digits[point:]}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    exponent = point - 1
    # Go pads exponents to two digits, and removes the padding from negative ones only.
    shown = f"-{-exponent}" if exponent < 0 else f"+{exponent:02d}"
    return f"{sign}{mantissa}e{shown}"


def _decimal(number: float) -> tuple[str, str, int]:
    """Sign, digits without zeros at either end, and how many of them stand before the decimal point."""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return "-" if math.copysign(1, number) < 0 else "", digits.rstrip("0") or "0", point
