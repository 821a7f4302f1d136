"""Both ends of a transfer, for tests: blobs that read sockets, readers that drain, threads that count."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio
import trustme

from wherry.errors import NetworkError
from wherry.interfaces import Extent, WouldBlock
from wherry.streams.threads import DataThreads

T = TypeVar("T")


class SocketBlob:
    """A body of known length on a non-blocking socket, plain or TLS, as a registry's answer is one."""

    def __init__(self, sock: socket.socket, length: int, prefix: bytes = b"") -> None:
        sock.setblocking(False)
        self._sock = sock
        self._prefix = prefix
        self._left = length
        self.size = length
        self.aborted = 0

    def extent(self) -> Extent | None:
        if isinstance(self._sock, ssl.SSLSocket):
            return None
        return Extent(self._sock.fileno(), None, self._left - len(self._prefix), self._prefix)

    def advance(self, count: int) -> None:
        self._prefix = self._prefix[count:]
        self._left -= count

    def fileno(self) -> int:
        return self._sock.fileno()

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        if not self._left:
            return 0
        if self._prefix:
            count = min(len(buffer), len(self._prefix))
            buffer[:count] = self._prefix[:count]
        else:
            try:
                count = self._sock.recv_into(buffer[: self._left])
            except (BlockingIOError, ssl.SSLWantReadError):
                return WouldBlock.READ
            except ssl.SSLWantWriteError:
                return WouldBlock.WRITE
            if not count:
                raise NetworkError("unexpected EOF")
        self.advance(count)
        return count

    def abort(self) -> None:
        self.aborted += 1


class CountingThreads(DataThreads):
    """Counts the jobs, and the most that ran at once."""

    def __init__(self, limit: int = 32) -> None:
        super().__init__(limit)
        self.jobs = 0
        self.most_busy = 0

    async def run(self, job: Callable[[], T], cancel: Callable[[], None]) -> T:
        def counted() -> T:
            self.jobs += 1
            self.most_busy = max(self.most_busy, self.busy)
            return job()

        return await super().run(counted, cancel)


@contextmanager
def open_pipe() -> Iterator[tuple[int, Callable[[], None], int, Callable[[], None]]]:
    """A pipe: the read end, what closes it, the non-blocking write end, and what closes that."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    open_ends = {read, write}

    def closer(fd: int) -> Callable[[], None]:
        def close() -> None:
            if fd in open_ends:
                open_ends.remove(fd)
                os.close(fd)

        return close

    close_read, close_write = closer(read), closer(write)
    try:
        yield read, close_read, write, close_write
    finally:
        close_read()
        close_write()


def read_to_end(fd: int) -> bytes:
    """For a thread: everything until the other end is closed."""
    parts = bytearray()
    while part := os.read(fd, 1 << 16):
        parts += part
    return bytes(parts)


def receive_to_end(sock: socket.socket) -> bytes:
    """For a thread: everything until the peer stops sending."""
    parts = bytearray()
    while part := sock.recv(1 << 16):
        parts += part
    return bytes(parts)


async def parked(threads: DataThreads) -> None:
    """Wait until no job runs: what is not finished then waits in the event loop."""
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if not threads.busy:
            return
        # Asking without a pause would keep the interpreter's lock from the very threads we wait for; and a
        # test's clock may stand still.
        await trio.to_thread.run_sync(time.sleep, 0.002)


_AUTHORITY: list[trustme.CA] = []


@contextmanager
def connected(*, tls: bool) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a stream connection; with `tls` both are ssl sockets after their handshake."""
    left, right = socket.socketpair()
    if not tls:
        with left, right:
            yield left, right
        return
    if not _AUTHORITY:
        _AUTHORITY.append(trustme.CA())
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    _AUTHORITY[0].issue_cert("wherry.test").configure_cert(server)
    _AUTHORITY[0].configure_trust(client)
    left.setblocking(False)
    right.setblocking(False)
    with (
        server.wrap_socket(left, server_side=True, do_handshake_on_connect=False) as one,
        client.wrap_socket(right, server_hostname="wherry.test", do_handshake_on_connect=False) as two,
    ):
        pending = [one, two]
        while pending:
            for end in list(pending):
                try:
                    end.do_handshake()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    continue
                pending.remove(end)
        one.setblocking(True)
        two.setblocking(True)
        yield one, two
