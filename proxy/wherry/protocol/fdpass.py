"""One message, in or out, with its file descriptors (unix(7), SCM_RIGHTS). Never blocks: sockets are
non-blocking.

The only module of this package that touches a socket.
"""

from __future__ import annotations

import array
import os
import select
import socket
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_FDS = 16
_FD_SIZE = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(_MAX_FDS * _FD_SIZE)


class Packet(Struct, frozen=True):
    """What one recvmsg gave. `truncated`: the message was longer than asked for. `fds` are close-on-exec."""

    data: bytes
    fds: tuple[int, ...] = ()
    truncated: bool = False
    fds_truncated: bool = False


def send(sock: socket.socket, data: bytes | memoryview, fds: Sequence[int] = ()) -> int:
    """Send a message in one sendmsg; the number of bytes taken (less than all on a STREAM socket only).

    Raises BlockingIOError, BrokenPipeError and other OSErrors as they come.
    """
    if not fds:
        return sock.send(data, socket.MSG_NOSIGNAL)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    return sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, size: int, *, take_fds: bool) -> Packet:
    """Receive one message of at most `size` bytes. Raises BlockingIOError where none is there.

    Without `take_fds` the kernel discards file descriptors that came along, so that none leak.
    """
    if not take_fds:
        data, _, flags, _ = sock.recvmsg(size)
        return Packet(data, truncated=bool(flags & socket.MSG_TRUNC))
    data, ancillary, flags, _ = sock.recvmsg(size, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(payload) - len(payload) % _FD_SIZE
            fds += array.array("i", payload[:whole])
    return Packet(
        data,
        tuple(fds),
        truncated=bool(flags & socket.MSG_TRUNC),
        fds_truncated=bool(flags & socket.MSG_CTRUNC),
    )


def close_all(fds: Sequence[int]) -> None:
    """Close file descriptors that were received and are not wanted."""
    for fd in fds:
        os.close(fd)


def discard(sock: socket.socket) -> None:
    """Drop what was sent and not received: with it the peer would see a reset, and lose replies unread."""
    try:
        while sock.recv(1):
            pass
    except OSError:
        return  # Nothing is left, or the peer is gone.


def at_end(sock: socket.socket) -> bool:
    """Whether nothing was received because the peer has shut down, rather than sent an empty packet."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))
