"""Blobs of memory and of local files (interfaces.Blob)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.errors import CorruptError, OperationCancelledError, file_error
from wherry.interfaces import Extent

if TYPE_CHECKING:
    from wherry.interfaces import WouldBlock


class BytesBlob:
    """Bytes that are in memory already: manifests, configurations, and what was made here."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._left = memoryview(data).cast("B")
        self._size = len(self._left)
        self._aborted = False

    @property
    def size(self) -> int:
        return self._size

    @property
    def left(self) -> memoryview:
        """What was not taken yet."""
        return self._left

    def extent(self) -> Extent | None:
        return None

    def advance(self, count: int) -> None:
        self._left = self._left[count:]

    def fileno(self) -> int:
        return -1

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        if self._aborted:
            raise OperationCancelledError("the read was cancelled")
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def abort(self) -> None:
        self._aborted = True


class FileBlob:
    """`length` bytes of a regular file, from `offset`: a whole file, or a member of an archive.

    Reads are positional, so several blobs may share `fd`; it is the caller's, who keeps it open meanwhile.
    A file that ends early raises CorruptError `unexpected EOF`; what it grows by is not read.
    """

    def __init__(self, fd: int, offset: int, length: int, display: str = "") -> None:
        self._fd = fd
        self._offset = offset
        self._end = offset + length
        self._size = length
        self._display = display
        self._aborted = False

    @property
    def size(self) -> int:
        return self._size

    def extent(self) -> Extent | None:
        return Extent(self._fd, self._offset, self._end - self._offset)

    def advance(self, count: int) -> None:
        self._offset += count

    def fileno(self) -> int:
        return -1

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        if self._aborted:
            raise OperationCancelledError("the read was cancelled")
        left = self._end - self._offset
        if not left:
            return 0
        try:
            count = os.preadv(self._fd, [buffer[:left]], self._offset)
        except OSError as error:
            raise file_error("read", self._display, error) from error
        if not count:
            raise CorruptError("unexpected EOF")
        self._offset += count
        return count

    def abort(self) -> None:
        self._aborted = True
