"""Connections to servers: resolving, connecting, TLS; and Go's texts for what goes wrong on the way."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct

from wherry.errors import NetworkError, StalledError, WherryError, errno_text

if TYPE_CHECKING:
    from wherry.config.proxies import Proxy
    from wherry.registry.origin import Origin

Guard = Callable[[str], None]
"""Called with the IP address that is about to be connected to; raises where it is refused (R-19)."""

RESOLVE_S: Final = 20.0
DIAL_S: Final = 30.0
LOOKUPS: Final = 16
"""Threads that may wait for the resolver at once: its slowness must not hold up trio's own (F-21)."""

Resolver = Callable[[str, int], list[tuple[socket.AddressFamily, "_SocketAddress"]]]
"""The addresses of a host for a TCP port, best first; blocks, called in a thread; raises socket.gaierror."""


class Names:
    """Looks up host names, some at a time."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver or _ask_system
        self._limiter = trio.CapacityLimiter(LOOKUPS)

    async def addresses(self, origin: Origin) -> list[tuple[socket.AddressFamily, _SocketAddress]]:
        """Raises UnreachableError and StalledError with Go's texts."""
        where = f"dial tcp: lookup {origin.host}"
        with suppress(socket.gaierror):  # an address needs no thread
            return _ask_system(origin.host, origin.port, socket.AI_NUMERICHOST)
        try:
            with trio.fail_after(RESOLVE_S):
                return await trio.to_thread.run_sync(
                    self._resolver, origin.host, origin.port, abandon_on_cancel=True, limiter=self._limiter
                )
        except trio.TooSlowError:
            raise StalledError(f"{where}: i/o timeout") from None
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise UnreachableError(f"{where}: server misbehaving") from None
            raise UnreachableError(f"{where}: no such host", retryable=False) from None
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"{where}: {error}", retryable=False) from None


def _ask_system(host: str, port: int, flags: int = 0) -> list[tuple[socket.AddressFamily, _SocketAddress]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, where) for family, _, _, _, where in found]


class Limits(Struct, frozen=True):
    """Seconds: to connect to one address, to shake hands, for a whole response head, and without a byte of
    a body (design.md section 5)."""

    connect: float = 10.0
    tls: float = 10.0
    head: float = 60.0
    idle: float = 60.0


class UnreachableError(NetworkError):
    """No connection: the name does not resolve, or nobody takes the connection at any of its addresses."""


class NothingCommonError(NetworkError):
    """The server and we have no key exchange or cipher in common, as far as its alert tells."""

    retryable = False


class PeerClosedError(NetworkError):
    """The server closed the connection while a request's body was written to it; it may have answered."""


class Connection:
    """One connected stream socket, non-blocking, TLS or not; its user closes it.

    `peer` is the IP address it is connected to.
    """

    def __init__(self, sock: socket.socket, peer: str, shown: str) -> None:
        self.sock = sock
        self.peer = peer
        self.shown = shown
        self.reused = False
        self.idle_since = 0.0
        self.clear = not isinstance(sock, ssl.SSLSocket)
        self.proxy: Proxy | None = None
        """The proxy that passes on what is sent; None also where there is a tunnel through one."""

    async def send_all(self, data: bytes) -> None:
        """Write everything; raises NetworkError."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await trio.lowlevel.wait_writable(self.sock)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self.sock)
            except OSError as error:
                raise self.failure("write", error) from error

    async def receive(self, most: int) -> bytes:
        """At least one byte, or b"" at the end of the stream; raises NetworkError."""
        while True:
            try:
                return self.sock.recv(most)
            except (BlockingIOError, ssl.SSLWantReadError):
                await trio.lowlevel.wait_readable(self.sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self.sock)
            except OSError as error:
                raise self.failure("read", error) from error

    def failure(self, operation: str, error: OSError) -> NetworkError:
        """The error of ours for what reading or writing raised."""
        if isinstance(error, ssl.SSLEOFError):
            return NetworkError("unexpected EOF")
        if isinstance(error, ssl.SSLError):
            return tls_failure(error, self.shown)
        return NetworkError(f"{operation} tcp {self.shown}: {operation}: {errno_text(error)}")

    def is_quiet(self) -> bool:
        """Whether an idle connection is still open and the server has said nothing unasked."""
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.recv(1)  # takes in session tickets; a byte of content would be unasked for
            else:
                self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def abort(self) -> None:
        """Cut the connection now: whoever waits for it or reads from it, in whatever thread, sees its end."""
        try:
            # SSLSocket.shutdown would forget its TLS state while a data thread still reads with it, and the
            # thread would then take ciphertext for content.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        except OSError:
            return  # it is cut already

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
        self.sock.close()


async def dial(
    origin: Origin, context: ssl.SSLContext | None, limits: Limits, guard: Guard | None, names: Names
) -> Connection:
    """Connect to the first address of `origin` that answers; `context` is that of an https origin.

    Each address has its own limit, and no further one is tried after DIAL_S. Raises UnreachableError or
    StalledError with Go's texts (`dial tcp ADDRESS: connect: connection refused`), of the first address that
    failed; and what `guard` raises, before anything is sent there.
    """
    first: WherryError | None = None
    began = trio.current_time()
    for family, where in await names.addresses(origin):
        if first is not None and trio.current_time() - began >= DIAL_S:
            break
        peer = str(where[0])
        if guard is not None:
            guard(peer)
        try:
            connection = await _connect(family, where, peer, limits)
        except (NetworkError, StalledError) as error:
            first = first or error
            continue
        if context is None:
            return connection
        try:
            return await secured(connection, context, origin.host, limits)
        except BaseException:
            connection.close()
            raise
    raise first or UnreachableError(f"dial tcp: lookup {origin.host}: no such host", retryable=False)


_SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


async def _connect(
    family: socket.AddressFamily, where: _SocketAddress, peer: str, limits: Limits
) -> Connection:
    shown = f"[{peer}]:{where[1]!s}" if ":" in peer else f"{peer}:{where[1]!s}"
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with trio.fail_after(limits.connect):
            try:
                sock.connect(where)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(sock)
                if failed := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(failed, "connect") from None
        local = sock.getsockname()
        ours = f"[{local[0]}]:{local[1]}" if ":" in str(local[0]) else f"{local[0]}:{local[1]}"
        return Connection(sock, peer, f"{ours}->{shown}")
    except BaseException as error:
        trio.lowlevel.notify_closing(sock)
        sock.close()
        if isinstance(error, trio.TooSlowError):
            raise StalledError(f"dial tcp {shown}: i/o timeout") from None
        if isinstance(error, OSError):
            raise UnreachableError(f"dial tcp {shown}: connect: {errno_text(error)}") from error
        raise


async def secured(plain: Connection, context: ssl.SSLContext, host: str, limits: Limits) -> Connection:
    """The TLS connection on `plain`, whose socket it takes over."""
    try:
        secure = context.wrap_socket(
            plain.sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    except OSError as error:
        raise plain.failure("read", error) from error
    made = Connection(secure, plain.peer, plain.shown)
    try:
        with trio.fail_after(limits.tls):
            await _shake(secure)
    except BaseException as error:
        made.close()
        if isinstance(error, trio.TooSlowError):
            raise StalledError("net/http: TLS handshake timeout") from None
        if isinstance(error, ssl.SSLEOFError):
            raise NetworkError("EOF") from error
        if isinstance(error, ssl.SSLError):
            raise tls_failure(error, host) from error
        if isinstance(error, OSError):
            raise made.failure("read", error) from error
        raise
    return made


async def _shake(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            return sock.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)


_CERTIFICATE_TEXTS: Final = {
    10: "certificate has expired or is not yet valid",
    9: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
}


_NOTHING_COMMON: Final = ("handshake failure", "insufficient security", "illegal parameter")


def tls_failure(error: ssl.SSLError, host: str) -> NetworkError:
    """The error of ours for what TLS refused; another try would end the same way."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (62, 64):
            text = f"certificate is not valid for {host}"
        else:
            text = _CERTIFICATE_TEXTS.get(error.verify_code, error.verify_message)
        return NetworkError(f"tls: failed to verify certificate: x509: {text}", retryable=False)
    reason = (error.reason or "unknown error").replace("_", " ").lower()
    if "wrong version number" in reason or reason == "http request":
        return NetworkError("http: server gave HTTP response to HTTPS client", retryable=False)
    if " alert " in f" {reason} ":
        reason = reason.partition("alert ")[2] or reason
        kind = NothingCommonError if reason in _NOTHING_COMMON else NetworkError
        return kind(f"remote error: tls: {reason}", retryable=False)
    return NetworkError(f"tls: {reason}", retryable=False)
