"""Strict reading of JSON that others wrote (RFC 8259, narrowed; hostile-cases R-52 to R-56).

Two parsers that disagree about one document are a security hole, so everything that parsers are known to
disagree about is refused: repeated keys, keys that differ in case only, numbers out of range, NaN, bad UTF-8,
lone surrogates, NUL, a byte order mark, deep nesting. Each refusal has one text of its own.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn

from wherry.errors import CorruptError, LimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MANIFEST_LIMIT = 4 * 1024 * 1024
CONFIG_LIMIT = 4 * 1024 * 1024
SIGNATURE_LIMIT = 4 * 1024 * 1024
DEPTH_LIMIT = 64

FREE_FORM = frozenset({"annotations", "labels", "exposedports", "volumes"})
"""Members (lower case) whose objects are maps: Go keeps their keys apart by case, so two may differ in it."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def loads(raw: bytes, *, limit: int, what: str, maps: Collection[str] = FREE_FORM) -> object:
    """Parse one JSON text: dict, list, str, int, float, bool or None.

    `limit`: bytes; `what`: names the document in error texts; `maps`: names (lower case) of members whose
    objects may hold keys that differ in case only.

    Raises LimitError for too many bytes or levels, CorruptError for everything else that is wrong.
    """
    reader = _Reader(what, maps)
    value = _parse(raw, limit, reader, reader.object)
    reader.finish()
    return value


class Members(list[tuple[str, object]]):
    """A JSON object as it is written: its members in order, repeated keys included."""


def loads_members(raw: bytes, *, limit: int, what: str) -> object:
    """As `loads`, with every object a `Members`: for readers that judge keys by themselves, and must say of a
    repeated key what the reference says."""
    return _parse(raw, limit, _Reader(what, ()), Members)


def _parse(
    raw: bytes, limit: int, reader: _Reader, make_object: Callable[[list[tuple[str, object]]], object]
) -> object:
    what = reader.what
    if len(raw) > limit:
        raise LimitError(f"{what} exceeded maximum allowed size of {limit} bytes")
    text = _decode(raw, what)
    _check_depth(raw, what)
    decoder = json.JSONDecoder(
        object_pairs_hook=make_object,
        parse_int=reader.integer,
        parse_float=reader.floating,
        parse_constant=reader.constant,
    )
    try:
        value: object = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise CorruptError(f"{what} is not valid JSON: {_syntax(error)}") from None
    except RecursionError:
        raise LimitError(f"{what} is nested deeper than {DEPTH_LIMIT} levels") from None
    if "\\u" in text:
        _check_strings(value, what)
    return value


def _decode(raw: bytes, what: str) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise CorruptError(f"{what} starts with a byte order mark")
    if b"\x00" in raw:
        raise CorruptError(f"{what} contains a NUL byte")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise CorruptError(f"{what} is not valid UTF-8 (byte {error.start})") from None


def _check_depth(raw: bytes, what: str) -> None:
    """Before the parser runs: its recursion is the interpreter's, and would fail at a depth of its own."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH_LIMIT:
        return
    depth = 0
    for byte in _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        if depth > DEPTH_LIMIT:
            raise LimitError(f"{what} is nested deeper than {DEPTH_LIMIT} levels")


def _syntax(error: json.JSONDecodeError) -> str:
    message = error.msg[:1].lower() + error.msg[1:]
    if error.msg == "Extra data":
        message = "trailing data after the value"
    return f"{message} at line {error.lineno} column {error.colno}"


class _Reader:
    """The parser's hooks, with what they have to remember."""

    def __init__(self, what: str, maps: Collection[str]) -> None:
        self.what = what
        self._maps = maps
        # Objects with keys equal but for case, by identity; kept alive here, so identities stay unique.
        self._folded: dict[int, tuple[dict[str, object], str]] = {}

    def object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) != len(pairs):
            raise CorruptError(f"{self.what} has the key {_repeated([key for key, _ in pairs])} twice")
        if len({key.casefold() for key in value}) != len(value):
            repeated = _repeated([key.casefold() for key in value])
            self._folded[id(value)] = (value, repeated)
        if self._folded:
            for key, member in pairs:
                if key.lower() in self._maps:
                    self._folded.pop(id(member), None)
        return value

    def finish(self) -> None:
        for _, repeated in self._folded.values():
            raise CorruptError(f"{self.what} has keys that differ from {repeated} in case only")

    def integer(self, text: str) -> int:
        # 20 characters hold every int64; longer ones are not converted at all (that takes quadratic time).
        if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
            raise CorruptError(f"{self.what} has an integer out of range: {_shorten(text)}")
        return number

    def floating(self, text: str) -> float:
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise CorruptError(f"{self.what} has a number out of range: {_shorten(text)}")
        return number

    def constant(self, text: str) -> NoReturn:
        raise CorruptError(f"{self.what} is not valid JSON: {text} is not a number")


def _repeated(keys: list[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return json.dumps(_shorten(key))
        seen.add(key)
    raise AssertionError(keys)


def _shorten(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:64]}…"


def _check_strings(value: object, what: str) -> None:
    """Escapes can spell what the bytes themselves cannot hold."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            if "\0" in item:
                raise CorruptError(f"{what} contains a NUL character")
            if _SURROGATE.search(item):
                raise CorruptError(f"{what} contains a lone surrogate")
        elif isinstance(item, dict):
            left.extend(item)
            left.extend(item.values())
        elif isinstance(item, (list, tuple)):
            left.extend(item)
