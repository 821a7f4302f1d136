"""What payload is moved into: pipes, files, sockets, memory.

A sink owns nothing: who made the descriptor closes it. Writes never block; they happen in data threads, or
on the event loop for what is small.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Literal, Protocol

from wherry.errors import LimitError, NetworkError, ReaderGoneError, WherryError, errno_text, file_error
from wherry.interfaces import WouldBlock

if TYPE_CHECKING:
    import socket

KernelKind = Literal["pipe", "file", "socket"]


class Sink(Protocol):
    """Where `pump` moves a blob to."""

    @property
    def kernel_kind(self) -> KernelKind | None:
        """What the kernel can move bytes into without us; None where only `write` will do (TLS, memory)."""
        ...

    @property
    def offset(self) -> int | None:
        """Where the next byte goes in a file; None for a stream."""
        ...

    def fileno(self) -> int:
        """What to wait for after WouldBlock; -1 for a sink that never blocks."""
        ...

    def write(self, view: memoryview) -> int | WouldBlock:
        """Take bytes from the start of `view`; how many, which may be fewer than given."""
        ...

    def advance(self, count: int) -> None:
        """The kernel moved `count` bytes in."""
        ...

    def failure(self, error: OSError) -> WherryError:
        """The error of ours for what the kernel said while it moved bytes in."""
        ...


class PipeSink:
    """The write end of a pipe, which the caller made non-blocking (our end only, not the reader's)."""

    kernel_kind: KernelKind | None = "pipe"
    offset: int | None = None

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def write(self, view: memoryview) -> int | WouldBlock:
        try:
            return os.write(self._fd, view)
        except BlockingIOError:
            return WouldBlock.WRITE
        except OSError as error:
            raise self.failure(error) from error

    def advance(self, count: int) -> None:
        pass

    def failure(self, error: OSError) -> WherryError:
        """ReaderGoneError with Go's text, which ostree-ext looks for, or FileError."""
        if isinstance(error, BrokenPipeError):
            return ReaderGoneError("write |1: broken pipe")
        return file_error("write", "|1", error)


class FileSink:
    """A regular file, written from `offset` on; its own file position is neither used nor moved."""

    kernel_kind: KernelKind | None = "file"

    def __init__(self, fd: int, offset: int = 0, display: str = "") -> None:
        self._fd = fd
        self.offset: int | None = offset
        self._position = offset
        self._display = display

    def fileno(self) -> int:
        return self._fd

    def write(self, view: memoryview) -> int | WouldBlock:
        try:
            count = os.pwrite(self._fd, view, self._position)
        except OSError as error:
            raise self.failure(error) from error
        self.advance(count)
        return count

    def advance(self, count: int) -> None:
        self._position += count
        self.offset = self._position

    def failure(self, error: OSError) -> WherryError:
        return file_error("write", self._display, error)


class SocketSink:
    """A connected stream socket, plain or TLS, which the caller made non-blocking."""

    offset: int | None = None

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.kernel_kind: KernelKind | None = None if isinstance(sock, ssl.SSLSocket) else "socket"

    def fileno(self) -> int:
        return self._sock.fileno()

    def write(self, view: memoryview) -> int | WouldBlock:
        try:
            return self._sock.send(view)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return WouldBlock.WRITE
        except ssl.SSLWantReadError:
            return WouldBlock.READ
        except OSError as error:
            raise self.failure(error) from error

    def advance(self, count: int) -> None:
        pass

    def failure(self, error: OSError) -> WherryError:
        """NetworkError: the peer of an upload closed the connection, or it was cut off."""
        text = f"tls: {error}" if isinstance(error, ssl.SSLError) else errno_text(error)
        return NetworkError(f"write: {text}")


class MemorySink:
    """Collects what is small; raises LimitError beyond `limit` bytes, before they are kept."""

    kernel_kind: KernelKind | None = None
    offset: int | None = None

    def __init__(self, limit: int, what: str) -> None:
        self.data = bytearray()
        self._limit = limit
        self._what = what

    def fileno(self) -> int:
        return -1

    def write(self, view: memoryview) -> int | WouldBlock:
        if len(self.data) + len(view) > self._limit:
            raise LimitError(f"{self._what}: exceeded maximum allowed size of {self._limit} bytes")
        self.data += view
        return len(view)

    def advance(self, count: int) -> None:
        pass

    def failure(self, error: OSError) -> WherryError:
        return NetworkError(errno_text(error))
