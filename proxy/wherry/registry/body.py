"""The body of a response, as the data plane reads it: `interfaces.Blob` over a connection.

Bodies with a Content-Length are read raw, or by the kernel where there is no TLS; chunked ones go through
h11. A body that ends before its framing says so raises NetworkError, never looks like an end. Only a body
without any framing (close-delimited) can be cut short unseen, except under TLS: whoever reads it must know
its digest and size (R-03).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import h11

from wherry.errors import NetworkError, OperationCancelledError, RegistryError
from wherry.interfaces import Extent, WouldBlock

if TYPE_CHECKING:
    from wherry.registry.dial import Connection

TLS_FILL: Final = 256 * 1024
_CHUNK: Final = 64 * 1024


class HttpBlob:
    """The rest of a response on `connection`, of which `prefix` was read with the head.

    `length`: of the body in bytes, None where it ends with the connection; `chunks`: the parser of a chunked
    body, which has been fed what was read.
    """

    def __init__(
        self, connection: Connection, prefix: bytes, length: int | None, chunks: h11.Connection | None = None
    ) -> None:
        self._connection = connection
        self._prefix = memoryview(prefix)
        self._length = length
        self._left = length
        self._chunks = chunks
        self._aborted = False
        self._surplus = False
        self._ended = False
        if length is not None and len(prefix) > length:
            self._prefix = self._prefix[:length]
            self._surplus = True
        self._held = memoryview(b"")

    @property
    def size(self) -> int | None:
        return self._length

    @property
    def clean(self) -> bool:
        """Whether the body was taken whole and nothing follows: the connection may serve another request."""
        if self._aborted or self._surplus:
            return False
        if self._chunks is not None:
            return self._ended and not self._chunks.trailing_data[0]
        return self._left == 0

    def extent(self) -> Extent | None:
        if self._left is None or not self._connection.clear or self._chunks is not None or self._aborted:
            return None
        behind = self._left - len(self._prefix)
        return Extent(self._connection.sock.fileno(), None, behind, bytes(self._prefix))

    def advance(self, count: int) -> None:
        if self._left is not None:
            self._left -= count
        self._prefix = self._prefix[min(count, len(self._prefix)) :]

    def fileno(self) -> int:
        return self._connection.sock.fileno()

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        if self._aborted:
            raise OperationCancelledError("the read was cancelled")
        if self._chunks is not None:
            return self._read_chunk(self._chunks, buffer)
        if self._left == 0:
            return 0
        if self._left is not None:
            buffer = buffer[: self._left]
        if self._prefix:
            count = min(len(buffer), len(self._prefix))
            buffer[:count] = self._prefix[:count]
            self.advance(count)
            return count
        moved = self._receive(buffer)
        if isinstance(moved, int) and self._left is not None:
            if not moved:
                raise self._cut()
            self._left -= moved
        return moved

    def abort(self) -> None:
        self._aborted = True
        self._connection.abort()

    def _cut(self) -> NetworkError | OperationCancelledError:
        if self._aborted:
            return OperationCancelledError("the read was cancelled")
        return NetworkError("unexpected EOF")

    def _receive(self, buffer: memoryview) -> int | WouldBlock:
        """From the socket; TLS records are small, so several are gathered before somebody hashes them."""
        most = len(buffer) if self._connection.clear else min(len(buffer), TLS_FILL)
        filled = 0
        while filled < most:
            try:
                count = self._connection.sock.recv_into(buffer[filled:most])
            except (BlockingIOError, ssl.SSLWantReadError):
                return filled or WouldBlock.READ
            except ssl.SSLWantWriteError:
                return filled or WouldBlock.WRITE
            except OSError as error:
                if filled and isinstance(error, ssl.SSLEOFError):
                    return filled  # it is raised again at the next call
                raise self._failure(error) from error
            filled += count
            if self._connection.clear or not count:
                break
        return filled

    def _failure(self, error: OSError) -> NetworkError | OperationCancelledError:
        if self._aborted or isinstance(error, ssl.SSLEOFError):
            return self._cut()
        return self._connection.failure("read", error)

    def _read_chunk(self, chunks: h11.Connection, buffer: memoryview) -> int | WouldBlock:
        while not self._held:
            if self._ended:
                return 0
            try:
                event = chunks.next_event()
                if event is h11.NEED_DATA:
                    waiting = self._feed(chunks)
                    if waiting is not None:
                        return waiting
                elif isinstance(event, h11.Data):
                    self._held = memoryview(event.data)
                else:
                    self._ended = True
            except h11.RemoteProtocolError as error:
                if self._aborted or chunks.trailing_data[1]:
                    raise self._cut() from error
                raise RegistryError(f"malformed chunked encoding: {error}") from error
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    def _feed(self, chunks: h11.Connection) -> WouldBlock | None:
        try:
            chunks.receive_data(self._connection.sock.recv(_CHUNK))
        except (BlockingIOError, ssl.SSLWantReadError):
            return WouldBlock.READ
        except ssl.SSLWantWriteError:
            return WouldBlock.WRITE
        except OSError as error:
            raise self._failure(error) from error
        return None
