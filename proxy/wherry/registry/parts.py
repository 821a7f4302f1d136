"""Blobs in parts, for registries (or proxies before them) that limit how long a request may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.errors import CorruptError, InternalError
from wherry.interfaces import Resumable, WouldBlock

if TYPE_CHECKING:
    from wherry.errors import WherryError
    from wherry.interfaces import Blob, Extent
    from wherry.model.digest import Hasher

SIZES: Final = tuple(number << 20 for number in (64, 16, 4, 1))
"""Bytes of a part, from the first that is tried; the last is what common proxies allow at least."""


def smaller(size: int, before: int | None) -> int | None:
    """The part to try for a blob of `size` bytes that was refused in parts of `before` (None: whole)."""
    limit = size if before is None else min(size, before)
    return next((each for each in SIZES if each < limit), None)


class Part:
    """The next `length` bytes of a blob, itself a Blob; all of them are added to `hasher`."""

    def __init__(self, blob: Blob, length: int, hasher: Hasher) -> None:
        self._blob = blob
        self._length = length
        self._left = length
        self._hasher = hasher

    @property
    def size(self) -> int:
        return self._length

    def extent(self) -> Extent | None:
        return None

    def advance(self, count: int) -> None:
        raise InternalError("the kernel moves no part")

    def fileno(self) -> int:
        return self._blob.fileno()

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        if not self._left:
            return 0
        count = self._blob.readinto(buffer[: self._left])
        if isinstance(count, WouldBlock):
            return count
        if not count:
            raise CorruptError(f"unexpected EOF, {self._left} bytes before the end of a part")
        self._left -= count
        self._hasher.update(buffer[:count])
        return count

    def abort(self) -> None:
        self._blob.abort()

    async def resume(self, cause: WherryError) -> None:
        """As interfaces.Resumable, where the blob itself can."""
        if not isinstance(self._blob, Resumable):
            raise cause
        await self._blob.resume(cause)
