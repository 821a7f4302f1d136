"""Expansion of compressed archives: once, into a file without a name, within a quota."""

from __future__ import annotations

import bz2
import lzma
import os
import sys
import threading
import zlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol

from wherry.errors import CorruptError, LimitError, OperationCancelledError, WherryError, file_error
from wherry.streams.spool import spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import ModuleType

    from wherry.system import System

Compression = Literal["gzip", "bzip2", "xz", "zstd"]

FREE: Final = 64 << 20
"""Bytes that any archive may expand to."""

RATIO: Final = 200
"""How many times its size an archive may expand to, beyond FREE."""

XZ_MEMORY: Final = 128 << 20
ZSTD_WINDOW_LOG: Final = 27

_SLICE: Final = 64 << 10
_FIRST_SLICE: Final = 512
_OUTPUT: Final = 1 << 20

_MAGIC: Final[tuple[tuple[bytes, Compression], ...]] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
HEAD: Final = 10
_BZIP2_BLOCKS: Final = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")
_SKIPPABLE: Final = b"\x2a\x4d\x18"  # behind a byte 0x50 to 0x5f: a zstd frame without content


def detect(head: bytes) -> Compression | None:
    """The compression that the first bytes (HEAD are enough) tell of."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head.startswith(b"BZh") and head[4:10] in _BZIP2_BLOCKS:  # not a tar whose first member is so called
        return "bzip2"
    return "zstd" if _is_skippable(head) else None


@asynccontextmanager
async def plain(fd: int, size: int, system: System) -> AsyncIterator[tuple[int, int]]:
    """The archive in the first `size` bytes of `fd`, expanded if it is compressed: its descriptor and size.

    Raises as `expand`, and as `spool`. The descriptor lives as long as the context, or as `fd`.
    """
    compression = detect(_pread(fd, HEAD, 0))
    if compression is None:
        yield fd, size
        return
    async with spool(system) as out:
        stop = threading.Event()
        job = partial(expand, fd, size, compression, out, stop.is_set)
        yield out, await system.threads.run(job, stop.set)


def expand(fd: int, size: int, compression: Compression, out: int, stop: Callable[[], bool]) -> int:
    """Expand the first `size` bytes of `fd` to the start of `out`; the number of bytes. For data threads.

    All members, streams or frames are expanded, one after the other. The time is linear in what is read plus
    what is written.

    Raises LimitError (the quota, or more memory than we give a decoder), CorruptError (also for content that
    is compressed again: one level is all there is), OperationCancelledError when `stop` says so, FileError.
    """
    feed = _Feed(fd, size, stop)
    target = _Target(out, max(FREE, RATIO * size))
    skip, new, failures = _decoders(compression)
    try:
        while skip(feed):
            decoder = new()
            while not decoder.eof:
                data = feed.take() if decoder.needs_input else memoryview(b"")
                if decoder.needs_input and not data:
                    raise CorruptError(f"{compression}: unexpected EOF")
                feed.check()
                target.write(decoder.decompress(data, _OUTPUT))
            feed.put_back(len(decoder.unused_data))
    except failures as error:
        raise _failure(compression, error) from error
    if detect(_pread(out, HEAD, 0)) is not None:
        raise CorruptError("the archive is compressed more than once")
    return target.written


class _Decoder(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common; one member, stream or frame each."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: memoryview, max_length: int) -> bytes: ...


class _GzipDecoder:
    """zlib's decompressor with the face of the others."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: memoryview, max_length: int) -> bytes:
        output = self._decoder.decompress(self._decoder.unconsumed_tail or data, max_length)
        self._full = len(output) == max_length
        return output


class _Feed:
    """The compressed bytes, in slices that are small after each member's end.

    A decompressor copies what it has not used; with large slices and a million tiny members that would be
    quadratic.
    """

    def __init__(self, fd: int, size: int, stop: Callable[[], bool]) -> None:
        self._fd = fd
        self._size = size
        self._stop = stop
        self._window = memoryview(b"")
        self._start = 0  # where the window is in the file
        self._at = 0  # in the window
        self._slice = _FIRST_SLICE

    def check(self) -> None:
        if self._stop():
            raise OperationCancelledError("expanding the archive was cancelled")

    def take(self) -> memoryview:
        """The next slice; empty at the end."""
        data = self._ahead(1)[: self._slice]
        self._at += len(data)
        self._slice = min(2 * self._slice, _SLICE)
        return data

    def put_back(self, count: int) -> None:
        """Return the end of the last slice; a member ended."""
        self._at -= count
        self._slice = _FIRST_SLICE

    def peek(self, count: int) -> bytes:
        """The next bytes, left where they are; fewer at the end."""
        return bytes(self._ahead(count)[:count])

    def skip(self, count: int) -> bool:
        """Pass over bytes; False if there are not as many."""
        target = self._start + self._at + count
        self._at += count
        if self._at > len(self._window):
            self._start, self._at, self._window = target, 0, memoryview(b"")
        return target <= self._size

    def _ahead(self, count: int) -> memoryview:
        if len(self._window) - self._at < count:
            self._start += self._at
            self._at = 0
            wanted = max(0, min(_SLICE, self._size - self._start))
            self._window = memoryview(_pread(self._fd, wanted, self._start))
        return self._window[self._at :]


class _Target:
    def __init__(self, fd: int, quota: int) -> None:
        self._fd = fd
        self._quota = quota
        self.written = 0

    def write(self, data: bytes) -> None:
        if self.written + len(data) > self._quota:
            raise LimitError(f"the archive expands to more than {self._quota} bytes")
        view = memoryview(data)
        while view:
            try:
                count = os.pwrite(self._fd, view, self.written)
            except OSError as error:
                raise file_error("write", "temporary file", error) from error
            self.written += count
            view = view[count:]


def _decoders(
    compression: Compression,
) -> tuple[Callable[[_Feed], bool], Callable[[], _Decoder], tuple[type[Exception], ...]]:
    """How to come to the next member (False: there is none), how to decode it, and what that may raise."""
    if compression == "gzip":
        return partial(_next_member, "gzip", b"\x1f\x8b"), _GzipDecoder, (zlib.error,)
    if compression == "bzip2":
        return partial(_next_member, "bzip2", b"BZh"), bz2.BZ2Decompressor, (OSError, EOFError)
    if compression == "xz":
        new = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, XZ_MEMORY)
        return _next_xz_stream, new, (lzma.LZMAError, EOFError)
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    return _next_frame, partial(zstd.ZstdDecompressor, options=options), (zstd.ZstdError, EOFError)


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _failure(compression: Compression, error: Exception) -> WherryError:
    text = str(error)
    if "emory" in text:  # liblzma's "Memory usage limit exceeded", zstd's "requires too much memory"
        return LimitError(f"{compression}: {text}")
    return CorruptError(f"{compression}: {text}")


def _next_member(compression: Compression, magic: bytes, feed: _Feed) -> bool:
    head = feed.peek(len(magic))
    if head and head != magic:
        raise CorruptError(f"{compression}: invalid header")
    return bool(head)


def _next_xz_stream(feed: _Feed) -> bool:
    while (head := feed.peek(4)) == bytes(4):  # stream padding
        feed.check()
        feed.skip(4)
    if head and head != b"\xfd7zX":
        raise CorruptError("xz: invalid header")
    return bool(head)


def _next_frame(feed: _Feed) -> bool:
    while _is_skippable(head := feed.peek(8)):
        feed.check()
        if len(head) < 8 or not feed.skip(8 + int.from_bytes(head[4:], "little")):
            raise CorruptError("zstd: unexpected EOF")
    if head and head[:4] != b"\x28\xb5\x2f\xfd":
        raise CorruptError("zstd: invalid header")
    return bool(head)


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50


def _pread(fd: int, count: int, offset: int) -> bytes:
    try:
        return os.pread(fd, count, offset)
    except OSError as error:
        raise file_error("read", "archive", error) from error
