"""Reading policy.json's members: nothing unknown, nothing twice, with the reference's texts.

Raises PolicyError throughout: a policy that can't be understood allows nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import PolicyError
from wherry.model.goquote import quote
from wherry.model.strictjson import Members

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASE64 = {
    char: value
    for value, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}


def each(value: object) -> Iterator[tuple[str, object]]:
    """The members of an object, in order; a repeated key is refused when it is reached."""
    if not isinstance(value, Members):
        raise PolicyError(f"JSON object expected, got {_token(value)}")
    seen: set[str] = set()
    for key, member in value:
        if key in seen:
            raise PolicyError(f"Duplicate key {quote(key)}")
        seen.add(key)
        yield key, member


def known(value: object, names: tuple[str, ...]) -> dict[str, object]:
    """The members of an object that may have these."""
    found = {}
    for key, member in each(value):
        if key not in names:
            raise PolicyError(f"Unknown key {quote(key)}")
        found[key] = member
    return found


def exactly(value: object, names: tuple[str, ...]) -> dict[str, object]:
    """The members of an object that must have all of these, and no others."""
    found = known(value, names)
    for name in names:
        if name not in found:
            raise PolicyError(f"Key {quote(name)} missing in a JSON object")
    return found


def kind(value: object, struct: str, identifier: str) -> str:
    """The `type` of a requirement or an identity, found as Go finds it: in any case, the last one. (What is
    not spelled exactly so is refused later, as an unknown key.)"""
    if value is None:
        return ""
    if not isinstance(value, Members):
        raise PolicyError(f"json: cannot unmarshal {_kind(value)} into Go value of type signature.{struct}")
    found = ""
    for key, member in value:
        if key.casefold() != "type" or member is None:
            continue
        if not isinstance(member, str):
            raise PolicyError(
                f"json: cannot unmarshal {_kind(member)} into Go struct field {struct}.type "
                f"of type signature.{identifier}"
            )
        found = member
    return found


def text(value: object) -> str:
    """A string; null counts as ""."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(value, "string")
    return value


def texts(value: object) -> tuple[str, ...] | None:
    """An array of strings, or None for null."""
    if value is None:
        return None
    if isinstance(value, Members) or not isinstance(value, list):
        raise _wrong(value, "[]string")
    return tuple(text(entry) for entry in value)


def data(value: object) -> bytes | None:
    """Bytes: base64, or an array of numbers as Go also takes it; None for null."""
    if value is None:
        return None
    if isinstance(value, str):
        return _decode_base64(value)
    if isinstance(value, Members) or not isinstance(value, list):
        raise _wrong(value, "[]uint8")
    for entry in value:
        if not isinstance(entry, int) or isinstance(entry, bool) or not 0 <= entry < 256:
            raise _wrong(entry, "uint8")
    return bytes(value)


def datas(value: object) -> tuple[bytes, ...] | None:
    """An array of bytes, or None for null."""
    if value is None:
        return None
    if isinstance(value, Members) or not isinstance(value, list):
        raise _wrong(value, "[][]uint8")
    return tuple(data(entry) or b"" for entry in value)


def _wrong(value: object, name: str) -> PolicyError:
    return PolicyError(f"json: cannot unmarshal {_kind(value)} into Go value of type {name}")


def _kind(value: object) -> str:
    if isinstance(value, Members):
        return "object"
    return {bool: "bool", str: "string", list: "array"}.get(type(value), "number")


def _token(value: object) -> str:
    """Go's `%#v` of the first token: a bracket is a number there."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return quote(value)
        case list():
            return "91"
        case _:
            return str(value)


def _decode_base64(encoded: str) -> bytes:
    """Standard base64 with padding; line breaks are skipped. The position in the error is Go's."""
    decoded = bytearray()
    group: list[int] = []
    characters = [(at, char) for at, char in enumerate(encoded) if char not in "\r\n"]
    for index, (position, char) in enumerate(characters):
        if char == "=":
            decoded += _last_group(group, characters[index:], position, len(encoded))
            return bytes(decoded)
        if char not in _BASE64:
            raise _illegal(position)
        group.append(_BASE64[char])
        if len(group) == 4:
            decoded += _join(group)[:3]
            group = []
    if group:
        raise _illegal(len(encoded) - len(group))
    return bytes(decoded)


def _last_group(group: list[int], rest: list[tuple[int, str]], position: int, end: int) -> bytes:
    padding = 4 - len(group)
    if len(group) < 2:
        raise _illegal(position)
    for index in range(1, padding):
        if index >= len(rest):
            raise _illegal(end)
        if rest[index][1] != "=":
            raise _illegal(rest[index][0] - 1)
    if len(rest) > padding:
        raise _illegal(rest[padding][0])
    return _join([*group, *[0] * padding])[: len(group) - 1]


def _join(group: list[int]) -> bytes:
    first, second, third, fourth = group
    return (first << 18 | second << 12 | third << 6 | fourth).to_bytes(3, "big")


def _illegal(position: int) -> PolicyError:
    return PolicyError(f"illegal base64 data at input byte {position}")
