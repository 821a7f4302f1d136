"""A TCP proxy that fails at a byte: where, which way and how is said beforehand, nothing is left to chance.

    with Toxic(server.port, Cut(after=1000, how="reset")) as toxic:
        ...  # talk to 127.0.0.1:toxic.port

Bytes are counted over all connections, in the order in which the proxy passes them on; so with a client that
asks one thing after the other the same cut falls into the same byte each time. Threads and plain sockets,
nothing of ours in it.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Final, Literal, Self

How = Literal["fin", "reset", "silence"]
HOW: Final[tuple[How, ...]] = ("fin", "reset", "silence")
_CHUNK: Final = 65536


@dataclass(frozen=True)
class Cut:
    """What happens once `after` bytes have passed `way` ("down": to the client): the connection ends, both
    its halves (by FIN, by RST), or nothing passes on it any more, in either direction."""

    after: int
    how: How = "fin"
    way: Literal["down", "up"] = "down"


@dataclass
class Toxic:
    """Passes connections to 127.0.0.1:`target` on until its `with` block ends; each cut is made once."""

    target: int
    cuts: tuple[Cut, ...] = ()
    up: int = 0
    down: int = 0
    connections: int = 0
    made: list[Cut] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __init__(self, target: int, *cuts: Cut) -> None:
        self.target, self.cuts = target, cuts
        self.up = self.down = self.connections = 0
        self.made, self._threads, self._lock = [], [], threading.Lock()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stop, self._stopped = socket.socketpair()
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()  # readable, for every thread that waits
        for thread in self._threads:
            thread.join(10)
        self._stopped.close()
        self._listener.close()

    @property
    def name(self) -> str:
        """`host:port`, as it stands in image names."""
        return f"127.0.0.1:{self.port}"

    def _spawn(self, target) -> None:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=target, name="toxic proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while self._listener in _readable(self._listener, self._stopped):
            client, _ = self._listener.accept()
            self.connections += 1
            self._spawn(lambda client=client: self._serve(client))  # type: ignore[misc]

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _reset(client)  # nobody is there any more
                return
            with server:
                try:
                    self._pass(client, server)
                except OSError:
                    _reset(client)  # as the other end did

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        open_ends = {client, server}
        while open_ends:
            ready = _readable(*open_ends, self._stopped)
            if self._stopped in ready:
                return
            for end in ready:
                other = server if end is client else client
                data = end.recv(_CHUNK)
                if not data:
                    open_ends.discard(end)
                    other.shutdown(socket.SHUT_WR)
                    continue
                cut = self._forward(data, other, "up" if end is client else "down")
                if cut is None:
                    continue
                if cut.how == "silence":
                    _readable(self._stopped)
                elif cut.how == "reset":
                    _reset(client)
                return

    def _forward(self, data: bytes, to: socket.socket, way: Literal["up", "down"]) -> Cut | None:
        """Pass on what comes before the next cut, if there is one in `data`."""
        with self._lock:
            passed = self.down if way == "down" else self.up
            due = [cut for cut in self.cuts if cut.way == way and cut not in self.made]
            cut = min((cut for cut in due if cut.after < passed + len(data)), key=_place, default=None)
            if cut is not None:
                self.made.append(cut)
                data = data[: max(0, cut.after - passed)]
            if way == "down":
                self.down += len(data)
            else:
                self.up += len(data)
        to.sendall(data)
        return cut


def _place(cut: Cut) -> int:
    return cut.after


def _readable(*socks: socket.socket) -> list[socket.socket]:
    poller = select.poll()
    by_number = {sock.fileno(): sock for sock in socks}
    for number in by_number:
        poller.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poller.poll()]


def _reset(sock: socket.socket) -> None:
    """Closing it sends RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
