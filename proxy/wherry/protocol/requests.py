"""Requests, decoded as Go's encoding/json decodes them into `{Method string; Args []any}`.

Member names match whatever their case, unknown members are ignored, missing or null `args` are none, bad
UTF-8 and lone surrogates become U+FFFD. Repeated members are refused, where Go takes the last
(docs/differences.md): `{"method":"Ping","method":"Shutdown"}` has no meaning that two readers agree on.
"""

from __future__ import annotations

import json
import re

from msgspec import Struct

from wherry.errors import InvalidError
from wherry.protocol.legacy import MAX_SAFE_INTEGER

_SURROGATE = re.compile("[\ud800-\udfff]")
_DEPTH = 64


class Request(Struct, frozen=True):
    """A decoded request. `id` is None in legacy mode; `fds` is how many file descriptors came with it."""

    method: str
    args: list[object]
    id: int | None = None
    timeout_ms: int | None = None
    fds: int = 0


def decode(packet: bytes) -> Request:
    """Decode a packet or line. Raises InvalidError with text `invalid request: …`."""
    try:
        document = _parse(packet.decode("utf-8", "replace"))
        return _request(document)
    except InvalidError as error:
        raise InvalidError(f"invalid request: {error}") from None


def _parse(text: str) -> object:
    try:
        document = json.loads(
            text, object_pairs_hook=_members, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        raise InvalidError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InvalidError("JSON is nested too deeply") from None
    return _without_surrogates(document, 0)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    folded: set[str] = set()
    for name, value in pairs:
        if name in members or (name.casefold() in folded and name.casefold() in _KNOWN):
            raise InvalidError(f"duplicate member {name!r}")
        folded.add(name.casefold())
        members[name] = value
    return members


def _constant(name: str) -> object:
    raise InvalidError(f"not JSON: {name}")


def _out_of_range(text: str) -> InvalidError:
    return InvalidError(
        f"json: cannot unmarshal number {text} into Go struct field request.args of type float64"
    )


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _out_of_range(text)
    return value


def _int(text: str) -> int | float:
    return int(text) if len(text.lstrip("-")) < 20 else _float(text)


def _without_surrogates(value: object, depth: int) -> object:
    if depth > _DEPTH:
        raise InvalidError("JSON is nested too deeply")
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {
            _SURROGATE.sub("\ufffd", name): _without_surrogates(item, depth + 1)
            for name, item in value.items()
        }
    return value


_KNOWN = frozenset({"method", "args", "id", "timeout_ms", "fds"})
_KINDS = {bool: "bool", str: "string", list: "array", int: "number", float: "number", dict: "object"}


def _kind(value: object) -> str:
    return _KINDS[type(value)]


def _request(document: object) -> Request:
    if document is None:
        return Request("", [])
    if not isinstance(document, dict):
        raise InvalidError(
            f"json: cannot unmarshal {_kind(document)} into Go value of type jsonproxy.request"
        )
    known: dict[str, object] = {}
    for name, value in document.items():
        if name.casefold() in _KNOWN:
            known[name.casefold()] = value
    method = known.get("method")
    if method is not None and not isinstance(method, str):
        raise InvalidError(
            f"json: cannot unmarshal {_kind(method)} into Go struct field request.method of type string"
        )
    args = known.get("args")
    if args is not None and not isinstance(args, list):
        raise InvalidError(
            f"json: cannot unmarshal {_kind(args)} into Go struct field request.args of type []interface {{}}"
        )
    return Request(
        method=method or "",
        args=args or [],
        id=_whole(known.get("id")),
        timeout_ms=_whole(known.get("timeout_ms")),
        fds=_whole(known.get("fds")) or 0,
    )


def _whole(value: object) -> int | None:
    """A number that means something in the extended protocol only; a legacy client may send anything
    there."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 < value <= MAX_SAFE_INTEGER and value == int(value) else None
