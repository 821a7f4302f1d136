"""Idle connections, kept for the next request to the same origin with the same rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from wherry.errors import WherryError

if TYPE_CHECKING:
    from wherry.registry.dial import Connection, Guard
    from wherry.registry.origin import Origin

POOL_LIMIT: Final = 100
IDLE_LIMIT_S: Final = 90.0


class Key(NamedTuple):
    """What a connection is good for: an origin, TLS settings and credentials (both as fingerprints)."""

    origin: Origin
    tls: str
    partition: str


class Pool:
    """Connections that are open and used by nobody."""

    def __init__(self) -> None:
        self._idle: dict[Key, list[Connection]] = {}
        self._closed = False

    def close(self) -> None:
        """Close all, and whatever is given back later."""
        self._closed = True
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def take(self, key: Key, guard: Guard | None) -> Connection | None:
        """A connection that is still good, if there is one; raises what `guard` says of its address."""
        self._sweep()
        connections = self._idle.get(key, [])
        while connections:
            connection = connections.pop()
            if not connection.is_quiet():
                connection.close()
                continue
            if guard is not None:
                try:
                    guard(connection.peer)
                except WherryError:
                    connection.close()
                    raise
            return connection
        return None

    def give_back(self, key: Key, connection: Connection, *, keep: bool) -> None:
        """Take a connection after use: kept if `keep`, else closed."""
        self._sweep()
        full = sum(map(len, self._idle.values())) >= POOL_LIMIT
        if not keep or full or self._closed or connection.sock.fileno() < 0:
            connection.close()
            return
        connection.idle_since = trio.current_time()
        connection.reused = True
        self._idle.setdefault(key, []).append(connection)

    def _sweep(self) -> None:
        """Close what has been idle for too long: servers do the same, and their ends would stay half open."""
        oldest = trio.current_time() - IDLE_LIMIT_S
        for key, connections in list(self._idle.items()):
            while connections and connections[0].idle_since < oldest:
                connections.pop(0).close()
            if not connections:
                del self._idle[key]
