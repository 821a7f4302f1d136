"""An HTTP proxy with switches for tests: CONNECT and requests in absolute form, to places that it is told.

    with FakeProxy({"registry.invalid": 5000}) as proxy: ...

Names lead to ports of loopback; what is asked for is in `proxy.asked`.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Self
from urllib.parse import urlsplit


@dataclass
class FakeProxy:
    """`places`: the port for each host that it reaches; `answer`: sent for CONNECT instead of a tunnel."""

    places: dict[str, int]
    answer: bytes | None = None
    hang: bool = False

    asked: list[str] = field(default_factory=list)
    """The request lines."""
    authorizations: list[str] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            _cut(sock)
        for thread in self._threads:
            thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _spawn(self, target, *arguments) -> None:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=target, args=arguments, name="fake proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            self._spawn(self._serve, sock)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client.makefile("rb") as stream:
                line, headers = self._head(stream)
                method, target, _ = line.split()
                if self.hang:
                    return
                if method != "CONNECT":
                    self._pass_on(client, stream, line, headers)
                elif self.answer is not None:
                    client.sendall(self.answer)
                    client.close()
                else:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    self._join(client, target.rpartition(":")[0])
        except (OSError, ValueError):
            client.close()

    def _head(self, stream: BinaryIO) -> tuple[str, dict[str, str]]:
        line = stream.readline().decode("latin-1").strip()
        headers = {}
        while header := stream.readline().decode("latin-1").strip():
            name, _, value = header.partition(": ")
            headers[name] = value
        if line:
            self.asked.append(line)
        if authorization := headers.pop("Proxy-Authorization", ""):
            self.authorizations.append(authorization)
        return line, headers

    def _pass_on(self, client: socket.socket, stream: BinaryIO, line: str, headers: dict[str, str]) -> None:
        """One server for each connection; bodies of requests have a Content-Length."""
        server = self._reach(urlsplit(line.split()[1]).hostname or "")
        self._spawn(_copy, server, client)
        while line:
            method, target, version = line.split()
            url = urlsplit(target)
            path = f"{url.path}?{url.query}" if url.query else url.path
            kept = [f"{name}: {value}" for name, value in headers.items()]
            server.sendall("\r\n".join([f"{method} {path} {version}", *kept, "", ""]).encode())
            server.sendall(stream.read(int(headers.get("Content-Length", 0))))
            line, headers = self._head(stream)

    def _join(self, client: socket.socket, host: str) -> None:
        server = self._reach(host)
        self._spawn(_copy, client, server)
        _copy(server, client)

    def _reach(self, host: str) -> socket.socket:
        server = socket.create_connection(("127.0.0.1", self.places[host]))
        self._open.append(server)
        return server


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _cut(target)


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
