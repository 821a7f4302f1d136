"""One transfer between a blob and a sink: its state between steps, and what a step does in a data thread."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import CorruptError, OperationCancelledError, WherryError
from wherry.interfaces import Extent, WouldBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.interfaces import Blob, Progress
    from wherry.model.digest import Hasher
    from wherry.streams.blobs import BytesBlob
    from wherry.streams.sinks import Sink
    from wherry.system import DataThreads

KERNEL_CHUNK: Final = 1 << 20
CAUTIOUS_CHUNK: Final = 64 << 10
"""Bytes read at once until the sink has shown that somebody reads it; so a pipe that nobody ever reads keeps
no more than this in memory."""

PROVEN: Final = 1 << 20
"""Bytes after which the sink has shown that: no pipe holds more."""

FILL: Final = 256 << 10
RECORD: Final = 16 << 10
"""A TLS record's payload at most: a read no larger may be one of many, so the buffer is filled to FILL."""

READER_TURN: Final = 0.001
"""Seconds that a pipe which was just filled is left to its reader at most."""

LARGEST_PIPE: Final = 1 << 20
LINGER: Final = 0.020
"""Seconds that a step waits in its thread before it hands its state back."""

LINGER_CONTENDED: Final = 0.001
SLICE: Final = 0.25
"""Seconds after which a step that others wait for makes room, though both its ends are ready."""


class Wait(NamedTuple):
    """A step can't go on: the source (or else the sink) is not ready in this direction."""

    source: bool
    direction: WouldBlock


SLICE_OVER: Final = Wait(False, WouldBlock.WRITE)
"""Not a wait, compared by identity: the step only made room for others."""


class _Turn(Enum):
    MOVED = 1
    END = 2


class Transfer:
    """`step` runs in a data thread, one at a time; `cancel` may be called from the event loop meanwhile."""

    def __init__(
        self,
        blob: Blob,
        sink: Sink,
        threads: DataThreads,
        hashers: Sequence[Hasher],
        limit: int | None,
        progress: Progress,
    ) -> None:
        self.hashers = hashers
        self.taken = 0  # from the blob
        self.moved = 0  # into the sink
        self._blob = blob
        self._sink = sink
        self._threads = threads
        self._limit = limit
        self._progress = progress
        self._pending = memoryview(b"")
        self._may_use_kernel = not hashers and sink.kernel_kind is not None
        self._by_kernel = self._may_use_kernel
        self.source_failed = False
        self._failure: WherryError | None = None
        self._disputes = 0
        self._reader: select.epoll | None = None  # tells when the pipe's reader has finished a read
        self._filled: select.epoll | None = None  # the same, when the pipe was just filled
        self._cancelled = False
        self._wake_lock = threading.Lock()
        self._wake: int | None = None

    def move_at_once(self, blob: BytesBlob) -> bool:
        """Take all of a small blob and write what the sink accepts now; whether that was everything."""
        view = blob.left
        blob.advance(len(view))
        self._take(view)
        while self._pending:
            if isinstance(self._write(), Wait):
                return False
        return True

    def cancel(self) -> None:
        """Make a running step return soon."""
        self._cancelled = True
        with self._wake_lock:
            if self._wake is not None:
                os.eventfd_write(self._wake, 1)
        self._blob.abort()

    def step(self) -> Wait | None:
        """Move bytes while both ends are ready; None at the end, else what to wait for."""
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with self._wake_lock:
            self._wake = wake
        try:
            with self._threads.buffer() as buffer, self._watched_reader():
                try:
                    return self._run(buffer, wake)
                finally:
                    # The buffer is lent; what the sink did not take waits in memory of its own.
                    self._pending = memoryview(bytes(self._pending))
        finally:
            with self._wake_lock:
                self._wake = None
                os.close(wake)

    @contextmanager
    def _watched_reader(self) -> Iterator[None]:
        """Where files are spliced into a pipe: have the kernel tell when its reader is done with a read.

        A reader holds the pipe's lock while it copies, and a splice that comes meanwhile spins for that lock:
        it would burn as much CPU as copying the bytes. The edge comes once a read of the full pipe is over.
        """
        if not self._by_kernel or self._sink.kernel_kind != "pipe":
            yield
            return
        with select.epoll() as reader:
            reader.register(self._sink.fileno(), select.EPOLLOUT | select.EPOLLET)
            self._reader = reader
            try:
                yield
            finally:
                self._reader = self._filled = None

    def _run(self, buffer: memoryview, wake: int) -> Wait | None:
        began = time.monotonic()
        patience = 0.0
        while True:
            if self._cancelled:
                raise OperationCancelledError("the transfer was cancelled")
            turn = self._turn(buffer)
            if turn is _Turn.END:
                return None
            now = time.monotonic()
            if isinstance(turn, Wait):
                linger = LINGER_CONTENDED if self._threads.contended else LINGER
                patience = patience or now + linger
                if now >= patience or not self._poll(turn, wake, min(linger, patience - now)):
                    return turn
            else:
                patience = 0.0
                if now - began > SLICE and self._threads.contended:
                    return SLICE_OVER

    def _turn(self, buffer: memoryview) -> Wait | _Turn:
        if self._pending:
            return self._write()
        if self._by_kernel:
            return self._move_by_kernel()
        return self._read(buffer)

    def _write(self) -> Wait | _Turn:
        count = self._sink.write(self._pending)
        if isinstance(count, WouldBlock):
            return Wait(False, count)
        self._pending = self._pending[count:]
        self._count(count)
        return _Turn.MOVED

    def _read(self, buffer: memoryview) -> Wait | _Turn:
        proven = self.moved >= PROVEN or self._sink.kernel_kind == "file"
        room = len(buffer) if proven else CAUTIOUS_CHUNK
        if self._limit is not None:
            room = min(room, self._limit + 1 - self.taken)
        filled = 0
        while filled < room:
            count = self._read_some(buffer[filled:room], filled)
            if isinstance(count, WouldBlock):
                if not filled:
                    return Wait(True, count)
                break
            filled += count
            if not count or count > RECORD or filled >= FILL or self._cancelled:
                break
        if not filled:
            return _Turn.END
        self._take(buffer[:filled])
        return _Turn.MOVED

    def _read_some(self, view: memoryview, filled: int) -> int | WouldBlock:
        """From the blob; its failure waits where bytes came before it, which would be lost otherwise."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self.source_failed = True
            raise failure
        try:
            return self._blob.readinto(view)
        except WherryError as error:
            if not filled:
                self.source_failed = True
                raise
            self._failure = error
            return WouldBlock.READ

    def resumed(self) -> None:
        """The blob goes on, perhaps elsewhere, after `source_failed`."""
        self.source_failed = False
        self._by_kernel = self._may_use_kernel
        self._disputes = 0

    def _take(self, chunk: memoryview) -> None:
        """Hash bytes that came from the blob, and have them written next."""
        self.taken += len(chunk)
        if self._limit is not None and self.taken > self._limit:
            raise CorruptError(f"the content is longer than {self._limit} bytes")
        for hasher in self.hashers:
            hasher.update(chunk)
        self._pending = chunk

    def _count(self, count: int) -> None:
        self.moved += count
        self._progress(count)

    def _move_by_kernel(self) -> Wait | _Turn:
        extent = self._blob.extent()
        if extent is None:
            return self._without_kernel()
        if extent.prefix:
            self._blob.advance(len(extent.prefix))
            self._take(memoryview(extent.prefix))
            return _Turn.MOVED
        room = min(extent.length, KERNEL_CHUNK)
        if self._limit is not None:
            room = min(room, self._limit - self.taken)
        if room <= 0:
            return self._without_kernel()  # which finds the end, or one byte too many
        if self._filled is not None:
            self._filled.poll(READER_TURN)
            self._filled = None
        try:
            count = _kernel_move(extent, self._sink, room)
        except BlockingIOError:
            return self._blocked_end(extent)
        except InterruptedError:
            return _Turn.MOVED
        except BrokenPipeError as error:
            raise self._sink.failure(error) from error
        except OSError:
            # EXDEV, EINVAL, ENOSYS, EOPNOTSUPP: not between these two. For anything else the other way either
            # works or meets the same error, and knows which end it came from.
            return self._without_kernel()
        if not count:
            return self._without_kernel()  # the source ends early: its readinto says so
        self._disputes = 0
        if extent.offset is not None and self._reader is not None and (count < room or count >= LARGEST_PIPE):
            self._filled = self._reader
        self._blob.advance(count)
        self._sink.advance(count)
        self.taken += count
        self._count(count)
        return _Turn.MOVED

    def _without_kernel(self) -> _Turn:
        self._by_kernel = False
        return _Turn.MOVED

    def _blocked_end(self, extent: Extent) -> Wait | _Turn:
        """Find out which end of a splice said EAGAIN. The sink goes first: its slowness is no one's fault."""
        poller = select.poll()
        poller.register(self._sink.fileno(), select.POLLOUT)
        if extent.offset is None:
            poller.register(extent.fd, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(0)}
        if self._sink.fileno() not in ready:
            return Wait(False, WouldBlock.WRITE)
        if extent.offset is None and extent.fd not in ready:
            return Wait(True, WouldBlock.READ)
        self._disputes += 1
        if self._disputes > 3:  # both say ready and nothing moves: never spin on that
            return self._without_kernel()
        return _Turn.MOVED

    def _poll(self, wait: Wait, wake: int, seconds: float) -> bool:
        """Wait in the thread for a moment; whether something changed."""
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        end = self._blob if wait.source else self._sink
        poller.register(end.fileno(), select.POLLIN if wait.direction is WouldBlock.READ else select.POLLOUT)
        watched = self._sink.fileno() if wait.source and self._sink.kernel_kind == "pipe" else -1
        if watched >= 0:
            poller.register(watched, 0)  # errors are always reported: the reader left
        ready = poller.poll(max(1, round(seconds * 1000)))
        if any(fd == watched for fd, _ in ready):
            raise self._sink.failure(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        return bool(ready)


def _kernel_move(extent: Extent, sink: Sink, count: int) -> int:
    """Have the kernel move up to `count` bytes; raises OSError, EINVAL where it can't between these two."""
    target, kind = sink.fileno(), sink.kernel_kind
    if kind == "pipe":
        # The pipe is non-blocking, which splice honours for both ends.
        flags = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
        return os.splice(extent.fd, target, count, offset_src=extent.offset, flags=flags)
    if extent.offset is not None and kind == "file":
        return os.copy_file_range(extent.fd, target, count, extent.offset, sink.offset)
    if extent.offset is not None and kind == "socket":
        return os.sendfile(target, extent.fd, extent.offset, count)
    raise OSError(errno.EINVAL, "the kernel can't move between these two")
