"""Bytes of messages: replies as Go writes them, lines of a STREAM socket, the size limits.

Framing follows the socket's type, never its content: a SEQPACKET packet is a message; on a STREAM socket
every message, both ways, ends in a newline, and one that comes with file descriptors says how many ("fds").
"""

from __future__ import annotations

import msgspec

from wherry.errors import LimitError, WherryError
from wherry.model import gojson
from wherry.protocol.messages import ErrorDetail, Event, Reply

REQUEST_LIMIT = 32768
REPLY_LIMIT = 32768
ERROR_TEXT_LIMIT = 4096
INLINE_LIMIT = 16384


def encode_reply(reply: Reply) -> bytes:
    """A reply's bytes, without the newline of STREAM sockets.

    Raises LimitError where they exceed REPLY_LIMIT: a client's buffer would truncate it, and a packet above
    the socket's own buffer could not be sent at all.
    """
    data = gojson.dumps(msgspec.to_builtins(reply))
    if len(data) > REPLY_LIMIT:
        raise LimitError(f"the reply has {len(data)} bytes, the limit is {REPLY_LIMIT}")
    return data


def encode_event(event: Event) -> bytes:
    """An event's bytes, without the newline of STREAM sockets."""
    return gojson.dumps(msgspec.to_builtins(event))


def clip(text: str) -> str:
    """`text`, cut so that it takes at most ERROR_TEXT_LIMIT bytes in JSON."""
    if len(text) * 6 <= ERROR_TEXT_LIMIT or len(gojson.dumps(text)) <= ERROR_TEXT_LIMIT:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if len(gojson.dumps(text[:middle] + "…")) <= ERROR_TEXT_LIMIT:
            low = middle
        else:
            high = middle - 1
    return text[:low] + "…"


def error_reply(error: WherryError) -> Reply:
    """The legacy reply that tells of an error."""
    return Reply(success=False, error_code=error.code, error=clip(str(error)))


def error_detail(error: WherryError) -> ErrorDetail:
    """What an extended reply adds to the five legacy members."""
    return ErrorDetail(
        kind=error.kind,
        retryable=error.retryable,
        http_status=error.http_status,
        retry_after_ms=None if error.retry_after is None else int(error.retry_after * 1000),
        exit_status=error.exit_status,
    )


class LineDecoder:
    """Messages of a STREAM socket, incrementally: feed bytes, take complete lines.

    Raises LimitError as soon as a line is known to exceed `limit`, before more of it is kept.
    """

    def __init__(self, limit: int = REQUEST_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> bytes | None:
        """The next line without its newline, or None until more is fed."""
        end = self._buffer.find(b"\n", 0, self._limit + 1)
        if end < 0:
            if len(self._buffer) > self._limit:
                raise LimitError(f"a message has more than {self._limit} bytes without a newline")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line
