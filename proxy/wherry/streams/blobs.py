"""Blobs of memory and of local files (interfaces.Blob)."""

from __future__ import annotations

import os
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.errors import CorruptError, OperationCancelledError, file_error
from wherry.interfaces import Extent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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


@asynccontextmanager
async def open_file_blob(path: str, display: str | None = None) -> AsyncIterator[FileBlob]:
    """Open the whole of a regular file; closed when the context ends.

    `display` is the path as the user knows it, for error texts. Symbolic links are followed, as skopeo does
    in layouts. Raises FileMissingError, FileError (`open PATH: …`), and CorruptError for what is no regular
    file: nothing is read from it, and a FIFO does not block (D-04).
    """
    shown = path if display is None else display
    fd = open_regular(path, shown)
    try:
        yield FileBlob(fd, 0, os.fstat(fd).st_size, shown)
    finally:
        os.close(fd)


def open_regular(path: str, display: str) -> int:
    """Open a regular file for reading, without ever blocking; the caller owns the descriptor.

    Raises as `open_file_blob`. Quick enough for the event loop where the file system is local.
    """
    try:
        # Looked at before it is opened as well: opening alone has effects on some devices.
        _require_regular(os.stat(path).st_mode, display)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise file_error("open", display, error) from error
    try:
        _require_regular(os.fstat(fd).st_mode, display)
    except BaseException:
        os.close(fd)
        raise
    return fd


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _require_regular(mode: int, display: str) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise CorruptError(f"open {display}: not a regular file, but {kind}")
