"""A scriptable, hostile HTTP server: its cases are data. Threads and plain sockets, nothing of ours in it.

    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": "…"}), Reply(200))
        fake.on("GET", "/v2/x/blobs/…", Reply(body=b"abc", length=10, end="close"))

Replies of a route are given in turn, the last one again and again. What was asked is in `fake.seen`.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_REASONS: Final = {200: "OK", 201: "Created", 202: "Accepted", 307: "Temporary Redirect", 404: "Not Found"}


@dataclass(frozen=True)
class Reply:
    """One answer.

    `length`: the Content-Length to claim, where it is not the body's; `end`: what becomes of the connection
    afterwards ("cut": closed without TLS's goodbye; "hang": nothing, until the server stops); `raw`: sent
    instead of all else; `early`: answer before the request's body is read; `late`: sent a moment afterwards,
    when the answer has been taken.
    """

    status: int = 200
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    length: int | None = None
    framing: Literal["length", "chunked", "close"] = "length"
    end: Literal["keep", "close", "cut", "reset", "hang"] = "keep"
    raw: bytes | None = None
    early: bool = False
    reason: str | None = None
    late: bytes = b""

    def wire(self, *, head_only: bool) -> bytes:
        if self.raw is not None:
            return self.raw
        reason = _REASONS.get(self.status, "Whatever") if self.reason is None else self.reason
        lines = [f"HTTP/1.1 {self.status} {reason}"]
        pairs = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
        lines += [f"{name}: {value}" for name, value in pairs]
        body = self.body
        if self.framing == "length":
            lines.append(f"Content-Length: {len(body) if self.length is None else self.length}")
        elif self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
            parts = [body[at : at + 1000] for at in range(0, len(body), 1000)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            body += b"0\r\n\r\n" if self.length is None else b"10\r\ntorn"
        else:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if head_only else body)


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


Answer = Reply | Callable[[Seen], Reply]


@dataclass
class _Route:
    answers: tuple[Answer, ...]
    asked: int = 0

    def next(self) -> Answer:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return answer


@dataclass
class FakeRegistry:
    """Serves on a free port of `host` until its `with` block ends; `tls` makes it https."""

    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    greeting: bytes | None = None
    """Sent to each connection instead of serving it; then the connection hangs."""
    port: int = 0
    """Where to listen; any free port if 0."""

    seen: list[Seen] = field(default_factory=list)
    _routes: dict[tuple[str, str], _Route] = field(default_factory=dict)
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        self.port = self._listener.getsockname()[1]
        self.on("GET", "/v2/", Reply(body=b"{}"))
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                _cut(sock)
        for thread in self._threads:
            thread.join(10)

    @property
    def name(self) -> str:
        """`host:port`, as it stands in image names."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://{self.name}"

    @property
    def connections(self) -> int:
        """How many connections were opened."""
        return len(self._open)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """What `method` on `path` (without query) is answered with."""
        self._routes[method, path] = _Route(answers)

    def manifest(self, repository: str, tag: str, raw: bytes, media_type: str = MANIFEST_TYPE) -> str:
        """Serve a manifest by tag and by digest; returns the digest."""
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        for name in (tag, digest):
            reply = Reply(headers={"Content-Type": media_type}, body=raw)
            self.on("GET", f"/v2/{repository}/manifests/{name}", reply)
        return digest

    def asked(self, method: str, path: str) -> list[Seen]:
        """The requests of that method and path."""
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    def _spawn(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="fake registry")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._stopping.is_set():
                    sock.close()
                    return
                self._open.append(sock)
                number = len(self._open)
            self._spawn(lambda sock=sock, number=number: self._serve(sock, number))  # type: ignore[misc]

    def _serve(self, plain: socket.socket, number: int) -> None:
        sock = plain
        try:
            if self.greeting is not None:
                sock.sendall(self.greeting)
                self._stopping.wait()
                return
            if self.tls is not None:
                sock = self.tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._open[number - 1] = sock
            with sock.makefile("rb") as stream:
                while self._one(sock, stream, number):
                    pass
        except (OSError, ValueError):
            return
        finally:
            sock.close()
            plain.close()

    def _one(self, sock: socket.socket, stream, number: int) -> bool:  # type: ignore[no-untyped-def]
        if stream.peek(1)[:1] == b"\x16":  # TLS, which a plain server can't know: answer as Go's do
            sock.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
            return False
        line = stream.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        headers = []
        while header := stream.readline().decode("latin-1").strip():
            name, _, value = header.partition(":")
            headers.append((name, value.strip()))
        seen = Seen(line[0], line[1], tuple(headers), b"", number)
        answer = self._answer(seen)
        if not (isinstance(answer, Reply) and answer.early):
            seen = Seen(line[0], line[1], tuple(headers), _read_body(seen, stream), number)
        with self._lock:
            self.seen.append(seen)
        reply = answer if isinstance(answer, Reply) else answer(seen)
        sock.sendall(reply.wire(head_only=seen.method == "HEAD"))
        if reply.late:
            self._stopping.wait(0.1)
            sock.sendall(reply.late)
        if reply.end == "hang":
            self._stopping.wait()
        elif reply.end == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif reply.end == "close" and isinstance(sock, ssl.SSLSocket):
            sock.unwrap()
        return reply.end == "keep" and reply.framing != "close"

    def _answer(self, seen: Seen) -> Answer:
        with self._lock:
            route = self._routes.get((seen.method, seen.path))
            return _unknown(seen) if route is None else route.next()


def ranged(body: bytes) -> Callable[[Seen], Reply]:
    """Answers with `body`, or with the rest of it where a Range header asks for that, as registries do."""

    def answer(seen: Seen) -> Reply:
        asked = seen.header("Range")
        if asked is None:
            return Reply(body=body)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        return Reply(206, {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}, body[start:])

    return answer


def _unknown(seen: Seen) -> Reply:
    kind = "MANIFEST" if "/manifests/" in seen.path else "BLOB" if "/blobs/" in seen.path else "NAME"
    return error(404, f"{kind}_UNKNOWN")


def error(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """An error in the distribution specification's form."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, {"Content-Type": "application/json", **headers}, body)


def _read_body(seen: Seen, stream) -> bytes:  # type: ignore[no-untyped-def]
    if seen.header("Transfer-Encoding") == "chunked":
        body = b""
        while size := int(stream.readline().strip() or b"0", 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return body
    length = int(seen.header("Content-Length") or 0)
    body = stream.read(length)
    if len(body) != length:
        raise ValueError("the request's body is torn")
    return body  # type: ignore[no-any-return]


def _cut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
