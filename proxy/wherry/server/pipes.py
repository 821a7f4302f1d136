"""The pipes of a connection: what was promised through them, and whether it was kept.

A FinishPipe pipe keeps its write end open after the last byte, so that a client can't take EOF for success
(skopeo does the same on purpose). When its reader leaves, the write end is closed at once and only the result
is kept, so an abandoned pipe costs no fd and no thread.
"""

from __future__ import annotations

import errno
import os
import select
from typing import TYPE_CHECKING

import trio

from wherry.errors import InvalidError, LimitError, WherryError
from wherry.interfaces import WouldBlock
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import pump
from wherry.streams.sinks import PipeSink

if TYPE_CHECKING:
    from wherry.system import DataThreads

_MAX_PIPE_ID = 2**32 - 1


class Pipe:
    """A pipe that ends with FinishPipe. `done` is set when all payload is written, or `error` says why
    not."""

    def __init__(self, number: int, fd: int) -> None:
        self.number = number
        self.fd = fd
        self.error: WherryError | None = None
        self.done = trio.Event()

    def close(self) -> None:
        """Close the write end; the reader sees EOF. May be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def make_pipe() -> tuple[int, int]:
    """A pipe whose write end alone is non-blocking: the client reads its end with plain, blocking reads.

    Raises LimitError where no file descriptor is left.
    """
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise LimitError("no file descriptor is left for a pipe") from None
        raise
    os.set_blocking(writer, False)
    return reader, writer


def make_pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """Two pipes, or none: LimitError as make_pipe."""
    first = make_pipe()
    try:
        return first, make_pipe()
    except LimitError:
        for fd in first:
            os.close(fd)
        raise


class PipeTable:
    """The FinishPipe pipes of one connection; their ids are a counter of its own, never fd numbers."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pipes: dict[int, Pipe] = {}
        self._last = 0
        self._gone: select.epoll | None = None
        self._last_request = False

    def add(self) -> tuple[int, Pipe]:
        """A new pipe: (the reader's end, which the caller sends and closes, the Pipe)."""
        if len(self._pipes) >= self._limit:
            self._forget_abandoned()
        if self._last >= _MAX_PIPE_ID:
            raise LimitError(f"a connection can have {_MAX_PIPE_ID} pipes, one after the other")
        reader, writer = make_pipe()
        self._last += 1
        pipe = Pipe(self._last, writer)
        self._pipes[pipe.number] = pipe
        return reader, pipe

    def drop(self, pipe: Pipe) -> None:
        """Take back a pipe that no reply told of."""
        self._pipes.pop(pipe.number, None)
        pipe.close()

    def written(self, pipe: Pipe) -> None:
        """All payload of `pipe` is in it: from now on only its reader's leaving matters."""
        pipe.done.set()
        if self._last_request:
            pipe.close()
        if pipe.fd >= 0:
            if self._gone is None:
                self._gone = select.epoll()
            self._gone.register(pipe.fd, 0)

    async def finish(self, number: int) -> None:
        """FinishPipe: wait for the payload, close the write end, raise what went wrong."""
        pipe = self._pipes.get(number)
        if pipe is None:
            raise InvalidError(f"finishpipe: no active pipe {number}")
        await pipe.done.wait()
        if self._pipes.pop(number, None) is None:
            raise InvalidError(f"finishpipe: no active pipe {number}")  # Another request was quicker.
        pipe.close()
        if pipe.error is not None:
            raise pipe.error

    async def watch(self) -> None:
        """Close the write ends whose readers left without FinishPipe. Runs as long as the connection."""
        while True:
            if self._gone is None:
                self._gone = select.epoll()
            await trio.lowlevel.wait_readable(self._gone.fileno())
            gone = {fd for fd, _ in self._gone.poll(0)}
            for pipe in self._pipes.values():
                if pipe.fd in gone:
                    pipe.close()

    def no_more_requests(self) -> None:
        """No FinishPipe can come any more: write ends close behind their payload."""
        self._last_request = True
        for pipe in self._pipes.values():
            if pipe.done.is_set():
                pipe.close()

    def close(self) -> None:
        """The connection ends: close everything."""
        for pipe in self._pipes.values():
            pipe.close()
        self._pipes.clear()
        if self._gone is not None:
            self._gone.close()

    def _forget_abandoned(self) -> None:
        for number, pipe in list(self._pipes.items()):
            if pipe.fd < 0 and pipe.done.is_set():
                del self._pipes[number]
                return
        raise LimitError(f"{self._limit} pipes are open on this connection, which is the limit")


async def write_bytes(data: bytes, fd: int, threads: DataThreads) -> None:
    """Write a document into a pipe: inline as far as it takes it, the rest as any other payload."""
    done = PipeSink(fd).write(memoryview(data)) if data else 0
    taken = 0 if isinstance(done, WouldBlock) else done
    if taken < len(data):
        await pump(BytesBlob(data[taken:]), PipeSink(fd), threads, idle=None)
