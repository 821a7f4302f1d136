"""Content digests (OCI image-spec, descriptor.md, section Digests; go-digest's algorithms and texts).

`Digest` is a `str` that only `parse` and `of` make, so holding one is proof that it is well formed: it may
become a file name or a part of a URL without another check.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NewType

from wherry.errors import InvalidError

if TYPE_CHECKING:
    from typing import Protocol

    class Hasher(Protocol):
        """What `hasher` returns: the part of hashlib's objects that we use."""

        def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
        def hexdigest(self) -> str: ...


Digest = NewType("Digest", str)

HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
_SHAPE = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX = re.compile(r"[a-f0-9]+")


def parse(text: str) -> Digest:
    """Make a Digest of `algorithm:hex`.

    Raises InvalidError with go-digest's texts: `invalid checksum digest format`,
    `unsupported digest algorithm`, `invalid checksum digest length`.
    """
    name, _, encoded = text.partition(":")
    if not name or not encoded:
        raise InvalidError("invalid checksum digest format")
    length = HEX_LENGTH.get(name)
    if length is None:
        raise InvalidError(
            "unsupported digest algorithm" if _SHAPE.fullmatch(text) else "invalid checksum digest format"
        )
    if len(encoded) != length:
        raise InvalidError("invalid checksum digest length")
    if not _HEX.fullmatch(encoded):
        raise InvalidError("invalid checksum digest format")
    return Digest(text)


def of(data: bytes | bytearray | memoryview, name: str = "sha256") -> Digest:
    """The digest of `data` with the named algorithm (a key of HEX_LENGTH)."""
    return Digest(f"{name}:{hashlib.new(name, data, usedforsecurity=False).hexdigest()}")


def hasher(name: str) -> Hasher:
    """A new hash object for a digest algorithm; its `update` releases the GIL for buffers over 2 KiB."""
    return hashlib.new(name, usedforsecurity=False)


def algorithm(digest: Digest) -> str:
    """`sha256` of `sha256:…`."""
    return digest.partition(":")[0]


def encoded(digest: Digest) -> str:
    """The hexadecimal part."""
    return digest.partition(":")[2]
