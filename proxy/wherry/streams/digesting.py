"""Compares what was moved with what a descriptor promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import CorruptError
from wherry.model.digest import algorithm

if TYPE_CHECKING:
    from wherry.model.descriptor import Descriptor
    from wherry.streams.pump import Moved


def verify(moved: Moved, expected: Descriptor) -> None:
    """Raise CorruptError unless size (where it is known) and digest are those of `expected`.

    `moved` must carry a digest of that algorithm: `pump(..., digests=[algorithm(expected.digest)])`.
    The texts are ours; where skopeo has one for its operation, the caller compares by itself.
    """
    if expected.size >= 0 and moved.count != expected.size:
        raise CorruptError(f"the content is {moved.count} bytes long, its descriptor says {expected.size}")
    found = moved.digests[algorithm(expected.digest)]
    if found != expected.digest:
        raise CorruptError(f"the content's digest is {found}, its descriptor says {expected.digest}")
