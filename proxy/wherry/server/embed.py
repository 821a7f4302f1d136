"""A server in the caller's own event loop: the command line's default, with the caller's rights and files."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.server.connection import serve_connection
from wherry.streams.background import background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.server.settings import ProxySettings
    from wherry.system import System


@asynccontextmanager
async def embedded(system: System, settings: ProxySettings) -> AsyncIterator[socket.socket]:
    """A connected client socket (SEQPACKET) whose server runs in this event loop; both end with the block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        async with background() as nursery:
            nursery.start_soon(serve_connection, theirs, system, settings)
            yield ours
