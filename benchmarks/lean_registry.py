"""A registry that costs little, so that what is measured is the client: `python -I -S` runs it alone.

It serves OCI layouts read-only: HEAD and GET of manifests, blobs and tag lists; manifests from memory, blobs
by sendfile. A thread for each connection. With --cert and --key it speaks TLS. It prints its port and serves
until its standard input ends.

The repository `tags/N` has N tags, 1000 a page. With --bearer it wants tokens, which its /token gives to all;
/counts tells how many requests, tokens and connections there were since it was asked last.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading

_CHUNK = 256 << 10
_REASONS = {
    200: "OK",
    206: "Partial Content",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
}
TAGS_A_PAGE = 1000


class Repository:
    """One layout: its manifests by tag and digest, the paths of its blobs by digest."""

    def __init__(self, layout: str) -> None:
        with open(f"{layout}/index.json", "rb") as index:
            entries = json.load(index)["manifests"]
        self.blobs = f"{layout}/blobs/"
        self.manifests: dict[str, tuple[str, str, bytes]] = {}
        self.tags: list[str] = []
        for entry in entries:
            with open(self.blobs + entry["digest"].replace(":", "/"), "rb") as manifest:
                held = (entry["mediaType"], entry["digest"], manifest.read())
            self.manifests[entry["digest"]] = held
            tag = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
            if tag:
                self.manifests[tag] = held
                self.tags.append(tag)


class Site:
    """What all connections share. `bearer`: whether tokens are wanted."""

    def __init__(self, repositories: dict[str, Repository], bearer: bool) -> None:
        self.repositories = repositories
        self.bearer = bearer
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(("requests", "tokens", "connections"), 0)

    def count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def counted(self) -> bytes:
        """The counts since this was asked last, without that request; JSON."""
        with self._lock:
            counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        return json.dumps(counts).encode()


class Connection:
    """Answers the requests of one client, one after the other."""

    def __init__(self, sock: socket.socket, site: Site) -> None:
        self._sock = sock
        self._site = site
        self._repositories = site.repositories
        self._received = b""
        self._asked = False

    def serve(self) -> None:
        """Until the client leaves or sends what is no HTTP."""
        try:
            while (head := self._head()) is not None:
                words = head.split("\r\n", 1)[0].split(" ")
                if len(words) != 3 or not words[2].startswith("HTTP/1."):
                    return
                path, _, query = words[1].partition("?")
                if path == "/counts":
                    self._send(200, "application/json", self._site.counted(), words[0])
                else:
                    self._counted(words[0], path, query, head)
        except OSError:
            return
        finally:
            self._sock.close()

    def _head(self) -> str | None:
        while b"\r\n\r\n" not in self._received:
            data = self._sock.recv(16384)
            if not data or data[0] == 0x16:  # somebody tries TLS where there is none
                return None
            self._received += data
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        return head.decode("latin-1")

    def _counted(self, method: str, path: str, query: str, head: str) -> None:
        if not self._asked:
            self._site.count("connections")
            self._asked = True
        if path == "/token":
            self._site.count("tokens")
            return self._send(200, "application/json", b'{"token":"a-token","expires_in":300}', method)
        self._site.count("requests")
        if self._site.bearer and "\r\nauthorization: bearer a-token" not in head.lower():
            address, port = self._sock.getsockname()
            host = f"{address}:{port}"
            offer = f'WWW-Authenticate: Bearer realm="http://{host}/token",service="{host}"\r\n'
            return self._send(401, "application/json", b'{"errors":[]}', method, extra=offer)
        self._answer(method, path, query, head)

    def _answer(self, method: str, path: str, query: str, head: str) -> None:
        if method not in ("GET", "HEAD"):
            return self._send(405, "text/plain", b"", method)
        if path in ("/v2", "/v2/"):
            return self._send(200, "application/json", b"{}", method)
        if path.startswith("/v2/tags/"):
            return self._tags(int(path.split("/")[3]), query, path, method)
        for kind in ("manifests", "blobs", "tags"):
            name, found, rest = path.removeprefix("/v2/").rpartition(f"/{kind}/")
            repository = self._repositories.get(name)
            if found and repository is not None:
                if kind == "manifests" and rest in repository.manifests:
                    media_type, digest, data = repository.manifests[rest]
                    return self._send(200, media_type, data, method, digest)
                if kind == "tags":
                    tags = json.dumps({"name": name, "tags": repository.tags}).encode()
                    return self._send(200, "application/json", tags, method)
                if kind == "blobs" and "/" not in rest:
                    return self._blob(repository.blobs + rest.replace(":", "/"), rest, method, head)
        return self._unknown(method)

    def _tags(self, count: int, query: str, path: str, method: str) -> None:
        start = int(query.removeprefix("last=") or -1) + 1
        end = min(start + TAGS_A_PAGE, count)
        tags = [f"v1.2.{number:07}" for number in range(start, end)]
        link = f'Link: <{path}?last={end - 1}>; rel="next"\r\n' if end < count else ""
        body = json.dumps({"name": f"tags/{count}", "tags": tags}).encode()
        self._send(200, "application/json", body, method, extra=link)

    def _unknown(self, method: str) -> None:
        body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self._send(404, "application/json", body, method)

    def _send(
        self, status: int, media_type: str, data: bytes, method: str, digest: str = "", extra: str = ""
    ) -> None:
        head = _head(status, media_type, len(data), digest, extra)
        self._sock.sendall(head if method == "HEAD" else head + data)

    def _blob(self, path: str, digest: str, method: str, head: str) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return self._unknown(method)
        try:
            size = os.fstat(fd).st_size
            start = _range(head)
            status = 206 if start else 200
            extra = f"Content-Range: bytes {start}-{size - 1}/{size}\r\n" if start else ""
            self._sock.sendall(_head(status, "application/octet-stream", size - start, digest, extra))
            if method == "GET":
                self._body(fd, start, size)
        finally:
            os.close(fd)

    def _body(self, fd: int, at: int, end: int) -> None:
        if isinstance(self._sock, ssl.SSLSocket):
            buffer = memoryview(bytearray(_CHUNK))
            while at < end:
                count = os.preadv(fd, [buffer], at)
                self._sock.sendall(buffer[:count])
                at += count
            return
        while at < end:
            at += os.sendfile(self._sock.fileno(), fd, at, end - at)


def _head(status: int, media_type: str, length: int, digest: str, extra: str = "") -> bytes:
    named = f"Docker-Content-Digest: {digest}\r\n" if digest else ""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n"
        f"Docker-Distribution-Api-Version: registry/2.0\r\n{named}{extra}\r\n"
    ).encode("latin-1")


def _range(head: str) -> int:
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "range":
            return int(value.strip().removeprefix("bytes=").partition("-")[0])
    return 0


def _accept(listener: socket.socket, site: Site, tls: ssl.SSLContext | None) -> None:
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(sock, site, tls), daemon=True).start()


def _serve(sock: socket.socket, site: Site, tls: ssl.SSLContext | None) -> None:
    if tls is not None:
        try:
            sock = tls.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
    Connection(sock, site).serve()


def main(arguments: list[str]) -> None:
    """ARGUMENTS: NAME=LAYOUT for each repository, --cert=FILE --key=FILE for TLS, --bearer."""
    given = dict(argument.split("=", 1) for argument in arguments if argument != "--bearer")
    tls = None
    if "--cert" in given:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(given.pop("--cert"), given.pop("--key"))
        tls.set_alpn_protocols(["http/1.1"])
    repositories = {name: Repository(layout) for name, layout in given.items()}
    site = Site(repositories, "--bearer" in arguments)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=_accept, args=(listener, site, tls), daemon=True).start()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1:])
