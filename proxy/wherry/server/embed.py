"""A server in the caller's own event loop: the command line's default, with the caller's rights and files."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from wherry.server.connection import serve_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.server.settings import ProxySettings
    from wherry.system import System


@asynccontextmanager
async def embedded(system: System, settings: ProxySettings) -> AsyncIterator[socket.socket]:
    """A connected client socket (SEQPACKET) whose server runs in this event loop; both end with the block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    failure: Exception | None = None
    with ours:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connection, theirs, system, settings)
            try:
                yield ours
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        # Raised here, so that the nursery does not wrap the caller's own exception in a group.
        raise failure
