"""Serving an inherited socket: the private proxy that bootc, ostree-ext and the client library start."""

from __future__ import annotations

import errno
import signal
import socket
from typing import TYPE_CHECKING

import trio

from wherry.errors import InvalidError, errno_text
from wherry.server.connection import serve_connection

if TYPE_CHECKING:
    from wherry.server.settings import ProxySettings
    from wherry.system import System


def inherited_socket(fd: int) -> socket.socket:
    """The socket behind an inherited fd, taken over.

    Raises InvalidError with skopeo's texts where it is none, and for DGRAM sockets, whose peer's end nobody
    sees.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        call = "fcntl" if error.errno == errno.EBADF else "file file+net sock: getsockopt"
        raise InvalidError(f"{call}: {errno_text(error)}") from None
    if sock.family != socket.AF_UNIX or sock.type not in (socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
        sock.detach()
        raise InvalidError(f"file descriptor {fd} is not a Unix SEQPACKET or STREAM socket")
    return sock


def serve_fd(fd: int, system: System, settings: ProxySettings) -> int:
    """Serve the client on an inherited socket until it leaves; the process's exit status.

    Raises InvalidError where `fd` is not such a socket.
    """
    sock = inherited_socket(fd)
    sock.set_inheritable(False)
    trio.run(_serve, sock, system, settings)
    return 0


async def _serve(sock: socket.socket, system: System, settings: ProxySettings) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_end_on_signal, nursery.cancel_scope)
        await serve_connection(sock, system, settings)
        nursery.cancel_scope.cancel()


async def _end_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """SIGTERM, and SIGINT, which a terminal sends to our parent's children too, end as a hang-up does: error
    pipes are told, temporary files removed. A second one kills."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            signal.signal(number, signal.SIG_DFL)
            scope.cancel()
            return
