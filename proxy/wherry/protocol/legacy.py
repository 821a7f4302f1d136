"""The argument rules of image proxy 0.2.8, with skopeo's texts (protocol-reference 1.5).

skopeo checks argument after argument, each with a text of its own, and looks handles up in between; clients'
tests match these texts, so the order is part of the contract. Fractional and negative numbers are refused
here, where skopeo truncates and wraps them (docs/differences.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_INITIALIZED = "client error: must invoke Initialize"
MAX_SAFE_INTEGER = 2**53 - 1

_ARITY: dict[str, tuple[int, str]] = {
    "Initialize": (0, "invalid request, expecting zero arguments"),
    "OpenImage": (1, "invalid request, expecting one argument"),
    "OpenImageOptional": (1, "invalid request, expecting one argument"),
    "CloseImage": (1, "invalid request, expecting one argument"),
    "GetManifest": (1, "invalid request, expecting one argument"),
    "GetFullConfig": (1, "invalid request, expecting: [imgid]"),
    "GetConfig": (1, "invalid request, expecting: [imgid]"),
    "GetBlob": (3, "found {} args, expecting (imgid, digest, size)"),
    "GetRawBlob": (2, "found {} args, expecting (imgid, digest)"),
    "GetLayerInfo": (1, "found {} args, expecting (imgid)"),
    "GetLayerInfoPiped": (1, "found {} args, expecting (imgid)"),
}


def check_arity(method: str, args: Sequence[object]) -> None:
    """Refuse a wrong number of arguments. FinishPipe ignores what follows its first; Shutdown takes
    anything."""
    if method == "FinishPipe":
        if not args:
            raise InvalidError("invalid request, expecting one argument")
        return
    if method in _ARITY:
        count, text = _ARITY[method]
        if len(args) != count:
            raise InvalidError(text.format(len(args)))


def go_type(value: object) -> str:
    """What Go's %T prints for a decoded JSON value."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "float64"
    if isinstance(value, str):
        return "string"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


def image_reference(value: object) -> str:
    """The argument of OpenImage and OpenImageOptional."""
    if not isinstance(value, str):
        raise InvalidError(f"expecting string imageref, not {go_type(value)}")
    return value


def number(value: object) -> int:
    """A whole number from 0 to 2^53-1; `1.0` is 1, as every JSON number is a float64 to skopeo."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidError(f"expecting numeric, not {go_type(value)}")
    if value > MAX_SAFE_INTEGER:
        raise InvalidError(f"out of range integer for numeric {float(value):f}")
    if value < 0 or value != int(value):
        raise InvalidError(f"expecting a whole number from 0 to {MAX_SAFE_INTEGER}, not {value}")
    return int(value)


def image_handle(value: object) -> int:
    """A handle of an image; 0 is never one."""
    handle = number(value)
    if handle == 0:
        raise InvalidError("invalid imageid value of zero")
    return handle


def blob_digest(value: object) -> str:
    """A blob's digest, not parsed yet."""
    if not isinstance(value, str):
        raise InvalidError("expecting string blobid")
    return value
