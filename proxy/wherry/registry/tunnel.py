"""A way through an HTTP proxy to a server: CONNECT (RFC 9110, section 9.3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h11
import trio

from wherry.errors import AuthError, LimitError, NetworkError, RegistryError, StalledError
from wherry.errors import context as context_of
from wherry.registry.dial import dial, secured
from wherry.registry.origin import Origin, address

if TYPE_CHECKING:
    import ssl

    from wherry.config.proxies import Proxy
    from wherry.registry.dial import Connection, Guard, Limits, Names

HEAD_LIMIT: Final = 64 * 1024
_RETRYABLE: Final = frozenset({502, 503, 504})


async def dial_through(
    proxy: Proxy,
    origin: Origin,
    context: ssl.SSLContext | None,
    limits: Limits,
    guard: Guard | None,
    names: Names,
) -> Connection:
    """As dial.dial, through a proxy: for https a tunnel, for http a connection to the proxy itself, which its
    user tells where to pass a request on (`Connection.proxy`).

    `guard` is asked about the address that the origin names, about "" for a name, which the proxy resolves.
    Raises as `dial`, with `proxyconnect tcp: ` before it, and as `connect`.
    """
    peer = origin.host if address(origin.host) is not None else ""
    if guard is not None:
        guard(peer)
    with context_of("proxyconnect tcp"):
        connection = await dial(Origin("http", proxy.host, proxy.port), None, limits, None, names)
    connection.peer = peer
    if context is None:
        connection.proxy = proxy
        return connection
    try:
        await connect(connection, proxy, origin, limits.head)
        return await secured(connection, context, origin.host, limits)
    except BaseException:
        connection.close()
        raise


async def connect(connection: Connection, proxy: Proxy, origin: Origin, limit: float) -> None:
    """Ask the proxy at the other end of `connection` for a way to `origin`; then what is sent goes there.

    `limit`: seconds until it has answered. Raises what is wrong with the proxy: AuthError (it wants a
    password), NetworkError with the reason that it gives, StalledError, RegistryError (no HTTP), LimitError.
    """
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}"
    headers = [("Host", target)]
    if proxy.authorization:
        headers.append(("Proxy-Authorization", proxy.authorization))
    machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
    out = machine.send(h11.Request(method="CONNECT", target=target, headers=headers))
    with trio.move_on_after(limit) as scope:
        await connection.send_all((out or b"") + (machine.send(h11.EndOfMessage()) or b""))
        head = await _head(connection, machine)
    if scope.cancelled_caught:
        raise StalledError("net/http: timeout awaiting the proxy's answer")
    reason = head.reason.decode("latin-1") or f"status {head.status_code}"
    if head.status_code == 407:
        raise AuthError(reason)
    if head.status_code != 200:
        raise NetworkError(reason, retryable=head.status_code in _RETRYABLE)
    if machine.trailing_data[0]:
        raise RegistryError("the proxy sent bytes of its own after its answer to CONNECT")


async def _head(connection: Connection, machine: h11.Connection) -> h11.Response:
    received = 0
    while True:
        try:
            event = machine.next_event()
        except h11.RemoteProtocolError as error:
            if received > HEAD_LIMIT:
                raise LimitError(f"the proxy's answer is longer than {HEAD_LIMIT} bytes") from error
            raise RegistryError(f"malformed HTTP response: {error}") from error
        if isinstance(event, h11.Response):
            return event
        if event is h11.NEED_DATA:
            data = await connection.receive(4096)
            if not data:
                raise NetworkError("unexpected EOF" if received else "EOF")
            received += len(data)
            machine.receive_data(data)
        elif not isinstance(event, h11.InformationalResponse) or received > HEAD_LIMIT:
            raise RegistryError("malformed HTTP response: no answer to CONNECT")
