"""The one HTTP/1.1 engine: a pool of connections, heads by h11, bodies left to the data plane.

Control requests and blobs share one pool, one TLS configuration and the origin rules: an Authorization
belongs to an origin, and this is the only place that puts it on the wire (design.md decision 15).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import h11
import trio
from msgspec import Struct, field

from wherry.errors import (
    InternalError,
    LimitError,
    NetworkError,
    RegistryError,
    StalledError,
    WherryError,
    context,
)
from wherry.interfaces import WouldBlock
from wherry.registry.body import HttpBlob
from wherry.registry.dial import Connection, Guard, Limits
from wherry.registry.dialer import Dialer
from wherry.registry.origin import Origin, Url
from wherry.registry.pool import Key, Pool
from wherry.registry.tls import TlsSettings

if TYPE_CHECKING:
    from typing import Self

    from wherry.config.proxies import Proxies
    from wherry.registry.dial import Names

HEAD_LIMIT: Final = 64 * 1024
RATE_WINDOW_S: Final = 60.0
RATE_MINIMUM: Final = 1024
_READ: Final = 16 * 1024
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_INTERIM_LIMIT: Final = 16

Send = Callable[[Connection], Awaitable[bool]]
"""Writes a request's body to a connection, as its head announced it; whether all of it was written. Where the
server answers or hangs up before, it stops and says False; what it raises ends the request."""


class Authorization(NamedTuple):
    """A value of the Authorization header, and the one origin that may see it."""

    origin: Origin
    value: str


class Reach(Struct, frozen=True):
    """How a server is reached: connections are shared only where all of this is equal.

    `partition`: fingerprint of the credentials, so that no connection carries two users; `guard` judges
    the address before anything is sent to it.
    """

    tls: TlsSettings = field(default_factory=TlsSettings)
    partition: str = ""
    guard: Guard | None = None


class Request(Struct, frozen=True):
    """One request. Host, Connection, User-Agent and the like are the caller's, except Host, which is made
    of `url`; `content` is a body in memory, for which Content-Length is set."""

    method: str
    url: Url
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes = b""
    authorization: Authorization | None = None
    reach: Reach = field(default_factory=Reach)


class Exchange:
    """A response whose head was read; its body is read from `body`. Whoever got it calls `release`."""

    def __init__(
        self,
        engine: Engine,
        key: Key,
        request: Request,
        head: h11.Response,
        connection: Connection,
        body: HttpBlob,
        *,
        lasting: bool,
    ) -> None:
        self.request = request
        self.status = head.status_code
        self.reason = head.reason.decode("latin-1")
        self.headers = head.headers.raw_items()
        self.body = body
        self.peer = connection.peer
        self._engine = engine
        self._key = key
        self._connection: Connection | None = connection
        self._lasting = lasting
        self._pace = _Pace()

    @property
    def released(self) -> bool:
        """Whether the body can't be read any more."""
        return self._connection is None

    def header(self, name: str) -> str | None:
        """The first header of that name, or None."""
        wanted = name.lower().encode()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None

    def header_values(self, name: str) -> list[str]:
        """All headers of that name, in their order."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    async def read(self, limit: int) -> bytes:
        """The whole body, for the event loop, which only small ones are for.

        Raises LimitError (`exceeded maximum allowed size of LIMIT bytes`), NetworkError, and StalledError
        after the idle limit or below 1 KiB/s in a minute.
        """
        body = bytearray()
        while chunk := await self.receive():
            body += chunk
            if len(body) > limit:
                raise LimitError(f"exceeded maximum allowed size of {limit} bytes")
        return bytes(body)

    async def receive(self) -> bytes:
        """The next bytes of the body, b"" at its end; raises NetworkError and StalledError as `read`."""
        buffer = memoryview(bytearray(_READ))
        count = await self._read(buffer)
        self._pace.note(count, self.request.url)
        return bytes(buffer[:count])

    async def _read(self, buffer: memoryview) -> int:
        while True:
            moved = self.body.readinto(buffer)
            if isinstance(moved, int):
                return moved
            with trio.move_on_after(self._engine.limits.idle):
                if moved is WouldBlock.READ:
                    await trio.lowlevel.wait_readable(self.body.fileno())
                else:
                    await trio.lowlevel.wait_writable(self.body.fileno())
                continue
            raise StalledError(f"reading {self.request.url.shown}: i/o timeout")

    def drain(self) -> None:
        """Take what has come already of a small body that nobody wants, so that its connection may be used
        again. Not for a body that the data plane reads."""
        if self.released or self.body.clean:
            return
        buffer = memoryview(bytearray(_READ))
        taken = 0
        with suppress(WherryError):  # the answer is complete without it, and the connection is closed
            while not self.body.clean and taken < _READ:
                moved = self.body.readinto(buffer)
                if not isinstance(moved, int) or not moved:
                    return
                taken += moved

    def release(self) -> None:
        """Give the connection back to the pool if nothing of the response is left on it, else close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._engine.pool.give_back(self._key, connection, keep=self._lasting and self.body.clean)


class _Pace:
    """Notes what arrives; refuses a server that sends less than the minimum rate (R-40)."""

    def __init__(self) -> None:
        self._window = trio.current_time()
        self._count = 0

    def note(self, count: int, url: Url) -> None:
        self._count += count
        now = trio.current_time()
        if now - self._window >= RATE_WINDOW_S:
            if count and self._count < RATE_MINIMUM * RATE_WINDOW_S:
                raise StalledError(f"reading {url.shown}: slower than 1 KiB/s")
            self._window, self._count = now, 0


class Engine:
    """The pool and what works on it; `async with` closes what is idle when it ends.

    `limits` apply to every request; `proxies` say which go through one. One engine may serve many registries
    and users.
    """

    def __init__(
        self, limits: Limits | None = None, names: Names | None = None, proxies: Proxies | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.pool = Pool()
        self._dialer = Dialer(self.limits, names, proxies)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pool.close()

    async def start(self, request: Request, send: Send | None = None) -> Exchange:
        """Send a request and read the head of its response; the caller releases the Exchange.

        `send` writes a body that is not in memory, after the head, which must announce it. A pooled
        connection that proves dead is replaced once, where the request may be repeated.

        Raises NetworkError, StalledError, RegistryError (no HTTP), LimitError (head over 64 KiB); the text
        starts with `Get "URL": `, as in Go.
        """
        with context(f'{request.method.capitalize()} "{request.url.shown}"'):
            key = self._key(request)
            repeatable = send is None and request.method in _REPEATABLE
            connection = self.pool.take(key, request.reach.guard)
            if connection is not None and connection.proxy is not None and not repeatable:
                # Proxies close behind an answer without a word; what is sent once only must not meet that.
                connection.close()
                connection = None
            if connection is not None:
                try:
                    return await self._run(key, request, connection, send)
                except NetworkError:
                    if not repeatable:
                        raise
            reach = request.reach
            connection = await self._dialer.connection(request.url.origin, reach.tls, key.tls, reach.guard)
            return await self._run(key, request, connection, send)

    def _key(self, request: Request) -> Key:
        tls = request.reach.tls.fingerprint() if request.url.scheme == "https" else ""
        return Key(request.url.origin, tls, request.reach.partition)

    async def _run(self, key: Key, request: Request, connection: Connection, send: Send | None) -> Exchange:
        try:
            machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
            whole = await self._send(machine, request, connection, send)
            head = await self._head(machine, connection)
            body = _body(request, head, machine, connection)
            # Where part of the request's body is unsent, nothing may follow it on this connection.
            return Exchange(self, key, request, head, connection, body, lasting=whole and _is_lasting(head))
        except BaseException:
            connection.close()
            raise

    async def _send(
        self, machine: h11.Connection, request: Request, connection: Connection, send: Send | None
    ) -> bool:
        """Write the request; whether all of it was written."""
        headers: list[tuple[str, str]] = [("Host", request.url.authority), *request.headers]
        allowed = request.authorization
        if allowed is not None and allowed.origin == request.url.origin:
            headers.append(("Authorization", allowed.value))
        if connection.proxy is not None and connection.proxy.authorization:
            headers.append(("Proxy-Authorization", connection.proxy.authorization))
        if request.content or (request.method in ("POST", "PUT", "PATCH") and send is None):
            headers.append(("Content-Length", str(len(request.content))))
        try:
            target = request.url.target if connection.proxy is None else str(request.url)
            out = machine.send(h11.Request(method=request.method, target=target, headers=headers))
            if send is None:
                if request.content:
                    out = (out or b"") + (machine.send(h11.Data(data=request.content)) or b"")
                out = (out or b"") + (machine.send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError as error:
            raise InternalError(f"the request is no HTTP: {error}") from error
        with trio.move_on_after(self.limits.idle) as scope:
            try:
                await connection.send_all(out or b"")
            except NetworkError:
                if connection.reused or not request.content:
                    raise
                return False  # the server may have answered and closed before it read a body
            if send is None:
                return True
            scope.deadline = math.inf  # `send` knows whether it gets on
            return await send(connection)
        raise StalledError(f"write tcp {connection.shown}: i/o timeout")

    async def _head(self, machine: h11.Connection, connection: Connection) -> h11.Response:
        with trio.move_on_after(self.limits.head):
            return await _read_head(machine, connection)
        raise StalledError("net/http: timeout awaiting response headers")


async def _read_head(machine: h11.Connection, connection: Connection) -> h11.Response:
    received = interim = 0
    while True:
        try:
            event = machine.next_event()
        except h11.RemoteProtocolError as error:
            if received > HEAD_LIMIT:
                raise LimitError(f"response head is longer than {HEAD_LIMIT} bytes") from error
            raise RegistryError(f"malformed HTTP response: {error}") from error
        if isinstance(event, h11.Response):
            return event
        if isinstance(event, h11.InformationalResponse):
            interim += 1
            if interim > _INTERIM_LIMIT:
                raise RegistryError(f"unexpected interim response with status {event.status_code}")
        elif event is not h11.NEED_DATA:
            raise NetworkError("EOF")
        elif received > HEAD_LIMIT:
            raise LimitError(f"response head is longer than {HEAD_LIMIT} bytes")
        else:
            data = await connection.receive(min(_READ, HEAD_LIMIT + 1 - received) or 1)
            if not data:
                raise NetworkError("unexpected EOF" if received else "EOF")
            received += len(data)
            machine.receive_data(data)


def _body(request: Request, head: h11.Response, machine: h11.Connection, connection: Connection) -> HttpBlob:
    """How the body is framed (RFC 9112, section 6.3)."""
    values = dict(list(head.headers))
    if request.method == "HEAD" or head.status_code in (204, 304):
        return HttpBlob(connection, machine.trailing_data[0], 0)
    if b"transfer-encoding" in values:
        return HttpBlob(connection, b"", None, machine)
    if b"content-length" in values:
        return HttpBlob(connection, machine.trailing_data[0], int(values[b"content-length"]))
    return HttpBlob(connection, machine.trailing_data[0], None)


def _is_lasting(head: h11.Response) -> bool:
    """Whether the server keeps the connection open, and its framing leaves no doubt (R-73)."""
    names = [name for name, _ in head.headers]
    tokens = {
        token.strip().lower()
        for name, value in head.headers
        if name == b"connection"
        for token in value.split(b",")
    }
    both = b"transfer-encoding" in names and b"content-length" in names
    return head.http_version == b"1.1" and b"close" not in tokens and not both
