"""Moves a blob into a sink: by the kernel where nothing is hashed, else read, hashed and written in a thread.

A step runs in a data thread and holds it only while both ends are ready: after a moment of waiting it hands
its state back, the event loop waits for readiness, and the next step may be any thread's. So readers that
stall cost no thread, however many they are (design.md, decision 9).
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct

from wherry.errors import StalledError, WherryError
from wherry.interfaces import Progress, Resumable, WouldBlock, no_progress
from wherry.model.digest import Digest, hasher
from wherry.streams.blobs import BytesBlob
from wherry.streams.sinks import MemorySink
from wherry.streams.transfer import SLICE_OVER, Transfer, Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.interfaces import Blob
    from wherry.streams.sinks import Sink
    from wherry.system import DataThreads

INLINE: Final = 64 << 10
"""Bytes that the event loop itself hashes and writes into a pipe: quicker than handing them to a thread."""

MINIMUM_RATE: Final = 1 << 10
"""Bytes a second that a source must send, over `idle` seconds of waiting for it."""

IDLE: Final = 60.0


class Moved(Struct, frozen=True):
    """What `pump` moved: the bytes the sink took, and their digests by algorithm (`sha256`)."""

    count: int
    digests: Mapping[str, Digest]


async def pump(
    blob: Blob,
    sink: Sink,
    threads: DataThreads,
    *,
    digests: Sequence[str] = (),
    limit: int | None = None,
    idle: float | None = IDLE,
    progress: Progress = no_progress,
) -> Moved:
    """Move all of `blob` into `sink`; compute the digests of exactly the bytes that the sink took.

    `digests`: algorithms (keys of model.digest.HEX_LENGTH); `limit`: bytes, of which the sink gets no more;
    `idle`: seconds of trio's clock that the source may stay silent while we wait for it (a slow sink is never
    counted), None for no limit. A Resumable blob goes on after its source failed or stalled, if it can. The
    blob is aborted when this ends in any other way than by the blob's end.

    Raises CorruptError (more than `limit` bytes), StalledError, ReaderGoneError (the pipe's reader left; this
    is noticed while waiting for the source too), whatever the blob raises, and the sink's error.
    """
    transfer = Transfer(blob, sink, threads, [hasher(name) for name in digests], limit, progress)
    patience = _Patience(idle)
    try:
        await trio.lowlevel.checkpoint()
        moving = not _inline(transfer, blob, sink)
        while moving:
            try:
                await _move(transfer, blob, sink, threads, patience)
                moving = False
            except WherryError as error:
                if not (transfer.source_failed and isinstance(blob, Resumable)):
                    raise
                await blob.resume(error)
                transfer.resumed()
                patience = _Patience(idle)
    except BaseException:
        blob.abort()
        raise
    sums = {
        name: Digest(f"{name}:{done.hexdigest()}")
        for name, done in zip(digests, transfer.hashers, strict=True)
    }
    return Moved(transfer.moved, sums)


async def _move(
    transfer: Transfer, blob: Blob, sink: Sink, threads: DataThreads, patience: _Patience
) -> None:
    """Run the transfer's steps, until the blob's end or the first error."""
    while (wait := await threads.run(transfer.step, transfer.cancel)) is not None:
        if wait is SLICE_OVER:
            continue
        if wait.source:
            await patience.wait(transfer, blob, sink, wait)
        elif wait.direction is WouldBlock.READ:
            await trio.lowlevel.wait_readable(sink.fileno())
        else:
            await trio.lowlevel.wait_writable(sink.fileno())


async def read_all(
    blob: Blob, threads: DataThreads, limit: int, what: str, *, idle: float | None = IDLE
) -> bytes:
    """The bytes of a small blob: a manifest, a configuration.

    Raises LimitError `WHAT: exceeded maximum allowed size of LIMIT bytes`, and as `pump`.
    """
    sink = MemorySink(limit, what)
    await pump(blob, sink, threads, idle=idle)
    return bytes(sink.data)


def _inline(transfer: Transfer, blob: Blob, sink: Sink) -> bool:
    """Move what is in memory, small and fits, at once; whether that was all."""
    if not (isinstance(blob, BytesBlob) and sink.kernel_kind == "pipe" and len(blob.left) <= INLINE):
        return False
    return transfer.move_at_once(blob)


class _Patience:
    """Waits for the source of one transfer, and no longer than it may be silent or slow."""

    def __init__(self, idle: float | None) -> None:
        self._idle = idle
        self._heard = 0
        self._silent = 0.0
        self._window_start = 0
        self._window = 0.0

    async def wait(self, transfer: Transfer, blob: Blob, sink: Sink, wait: Wait) -> None:
        if self._idle is None:
            return await _source_ready(blob, sink, wait)
        if transfer.taken != self._heard:
            self._heard = transfer.taken
            self._silent = 0.0
        began = trio.current_time()
        with trio.move_on_after(max(0.0, self._idle - self._silent)) as scope:
            await _source_ready(blob, sink, wait)
        waited = trio.current_time() - began
        self._silent += waited
        if scope.cancelled_caught:
            transfer.source_failed = True
            raise StalledError(f"the source sent nothing for {self._idle:g} s")
        self._check_rate(transfer, waited, self._idle)
        return None

    def _check_rate(self, transfer: Transfer, waited: float, idle: float) -> None:
        self._window += waited
        if self._window < idle:
            return
        taken = transfer.taken
        sent = taken - self._window_start
        if sent < MINIMUM_RATE * self._window:
            transfer.source_failed = True
            raise StalledError(f"the source sent only {sent} bytes in {self._window:.0f} s")
        self._window_start = taken
        self._window = 0.0


async def _source_ready(blob: Blob, sink: Sink, wait: Wait) -> None:
    """Wait until the source is ready; raise the sink's error as soon as its reader leaves.

    trio cannot wait for an error alone. An epoll of our own can (a descriptor registered with no events still
    reports errors), and trio can wait for that.
    """
    epoll = select.epoll()
    try:
        wanted = select.EPOLLIN if wait.direction is WouldBlock.READ else select.EPOLLOUT
        epoll.register(blob.fileno(), wanted)
        watched = sink.fileno() if sink.kernel_kind == "pipe" else -1
        if watched >= 0:
            epoll.register(watched, 0)
        await trio.lowlevel.wait_readable(epoll.fileno())
        if any(fd == watched for fd, _ in epoll.poll(0)):
            raise sink.failure(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
    finally:
        trio.lowlevel.notify_closing(epoll.fileno())
        epoll.close()
